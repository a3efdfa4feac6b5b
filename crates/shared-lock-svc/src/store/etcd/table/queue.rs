//! Rows by which requests enter the queue and leave it without the lock.

use etcd_client::TxnOp;

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
    Proposal::of(path, when, then)
        .or_else(otherwise.ops())
        .adding()
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
    Proposal::of(path, [stands(path, own)], then).or_else(question.ops())
}

/// Removes an entry of this replica that no handler serves.
pub(in super::super) fn sweep(path: &LockPath, stray: &Waiting) -> Proposal {
    Proposal::of(path, [stands(path, stray)], leave_queue(path, stray))
}

/// Removes a waiter that can never be served, for one of its leases is gone: it blocks the queue.
pub(in super::super) fn evict(path: &LockPath, dead: &Waiting, lost: LeaseId) -> Proposal {
    Proposal::of(
        path,
        [stands(path, dead), gone(lost)],
        [delete(path.waiter(&dead.request))],
    )
}
