//! Rows by which requests enter the queue and leave it without the lock.

use etcd_client::{Txn, TxnOp};

use super::{
    super::{
        keys::{self, LockPath},
        proposal::Proposal,
        records::{self, Waiter},
        sight::{Question, Waiting},
    },
    compares::{Alive, absent, begins, does_not_hold, gone, stands},
    writes::{delete, leave_queue, put, tombstone},
};
use crate::lease::LeaseId;

/// Stands in the queue of a lock that was seen taken, or waited for, by somebody else.
pub(in super::super) fn enqueue(
    path: &LockPath,
    alive: Alive<'_>,
    (waiter, seat): (&Waiter, LeaseId),
    meta_revision: i64,
    otherwise: &Question<'_>,
) -> Proposal {
    let meta = &waiter.meta;
    let mut when = begins(path, meta, alive);
    when.push(absent(path.waiter(&meta.request)));
    when.extend(does_not_hold(path, meta.mode, &meta.request, meta_revision));
    // The guards first: whoever sees the entry has seen them.
    let guards = meta.leases.own();
    let mut then: Vec<TxnOp> = guards
        .map(|lease| put(keys::guard(lease), "", lease))
        .collect();
    then.push(put(
        path.waiter(&meta.request),
        records::encode(waiter),
        seat,
    ));
    let txn = Txn::new()
        .when(when)
        .and_then(then)
        .or_else(otherwise.ops());
    Proposal::of(path, txn).adding()
}

/// Leaves the queue for good. The question is asked whichever way it goes.
pub(in super::super) fn cancel(
    path: &LockPath,
    own: &Waiting,
    tombstones: LeaseId,
    question: &Question<'_>,
) -> Proposal {
    let mut then = leave_queue(path, own);
    then.push(tombstone(path, &own.request, tombstones));
    then.extend(question.ops());
    let txn = Txn::new()
        .when([stands(path, own)])
        .and_then(then)
        .or_else(question.ops());
    Proposal::of(path, txn)
}

/// Removes an entry of this replica that no handler serves.
pub(in super::super) fn sweep(path: &LockPath, stray: &Waiting) -> Proposal {
    let txn = Txn::new()
        .when([stands(path, stray)])
        .and_then(leave_queue(path, stray));
    Proposal::of(path, txn)
}

/// Removes a waiter that can never be served, for one of its leases is gone: it blocks the queue.
pub(in super::super) fn evict(path: &LockPath, dead: &Waiting, lost: LeaseId) -> Proposal {
    let txn = Txn::new()
        .when([stands(path, dead), gone(lost)])
        .and_then([delete(path.waiter(&dead.request))]);
    Proposal::of(path, txn)
}
