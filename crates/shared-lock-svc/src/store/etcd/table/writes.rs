//! The "then" of the rows: what etcd writes.

use etcd_client::{DeleteOptions, PutOptions, TxnOp};

use super::super::{
    keys::{self, LockPath},
    records::{self, Delay, Meta},
    room::Run,
    sight::{Hold, Waiting},
};
use crate::lease::{LeaseId, Mode, RequestId};

/// The lock becomes that of a request.
pub(super) fn grant(path: &LockPath, meta: &Meta, value: &str) -> Vec<TxnOp> {
    let (record, lease) = (records::encode(meta), meta.leases.lease);
    match meta.mode {
        Mode::Exclusive => {
            let mut then = vec![
                put(path.holder(), value, lease),
                put(path.meta(), record, lease),
            ];
            then.extend(meta.leases.delay_lease.map(|delay| {
                let record = records::encode(Delay { of: lease });
                put(path.delay(), record, delay)
            }));
            then
        }
        Mode::Shared => vec![put(path.reader(&meta.request), record, lease)],
        Mode::Permit { .. } => vec![put(path.permit(&meta.request), record, lease)],
    }
}

/// The lock becomes that of waiters, on the leases and with the owners that their entries name.
/// Their guards stay: they belong to the leases.
pub(super) fn grant_run(path: &LockPath, run: &Run) -> Vec<TxnOp> {
    let mut then = Vec::new();
    for (nth, waiting) in run.waiters.iter().enumerate() {
        let meta = waiting.waiter.meta.beginning_now(nth);
        then.extend(grant(path, &meta, &waiting.waiter.value));
        then.push(delete(path.waiter(&waiting.request)));
    }
    then
}

/// A tenure ends.
pub(super) fn end(path: &LockPath, hold: &Hold) -> Vec<TxnOp> {
    match hold.mode {
        Mode::Exclusive => vec![
            delete(path.holder()),
            delete(path.meta()),
            delete(path.delay()),
        ],
        Mode::Shared | Mode::Permit { .. } => vec![delete(hold.key(path))],
    }
}

/// A waiter leaves the queue.
pub(super) fn leave_queue(path: &LockPath, waiting: &Waiting) -> Vec<TxnOp> {
    let mut then = vec![delete(path.waiter(&waiting.request))];
    let leases = waiting.waiter.meta.leases.own();
    then.extend(leases.map(|lease| delete(keys::guard(lease))));
    then
}

pub(super) fn tombstone(path: &LockPath, request: &RequestId, lease: LeaseId) -> TxnOp {
    put(path.tombstone(request), "", lease)
}

pub(super) fn put(key: String, value: impl Into<Vec<u8>>, lease: LeaseId) -> TxnOp {
    TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease.0)))
}

pub(super) fn delete(key: String) -> TxnOp {
    TxnOp::delete(key, None::<DeleteOptions>)
}
