//! The protocol, one function a row: what must hold, and what is then done.
//!
//! | key | is | on lease |
//! |---|---|---|
//! | H `/shared-lock/<key>` | the holder, written once per tenure; its mod revision is the token | tenure lease |
//! | M `/shared-lock-meta/E` | who that is; put and deleted only together with H | tenure lease |
//! | Q `/shared-lock-queue/E/<request>` | a request that waits; its create revision is its place | liveness lease of its replica |
//! | G `/shared-lock-lease/<lease>` | the tenure lease of a waiter is alive | that lease |
//! | T `/shared-lock-done/E/<request>` | the request has ended | a lease that outlives every proposal for it |
//! | L `/shared-lock-replica/<replica>` | the replica is alive | its liveness lease |
//!
//! E is the lock's name as one segment. A lock-delay would be a key of its own beside H, compared
//! absent by [`acquire`] and [`promote`] and put or deleted wherever H is.
//!
//! etcd evaluates all compares of a transaction, nested ones too, on the state before it. So at
//! most one row per lock may ever travel in one transaction.

use etcd_client::{Compare, CompareOp, DeleteOptions, PutOptions, Txn, TxnOp};

use super::{
    keys::{self, LockPath},
    proposal::Proposal,
    records::{self, Cause, Ending, Meta, Waiter},
    sight::{Question, Waiting},
};
use crate::lease::{LeaseId, RequestId};

/// L as the proposer knows it: a proposal made before the replica lost its liveness is void.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alive<'a> {
    pub(super) replica: &'a str,
    /// Create revision of L.
    pub(super) since: i64,
}

/// Takes a free lock that nobody waits for.
pub(super) fn acquire(
    path: &LockPath,
    alive: Alive<'_>,
    lease: LeaseId,
    meta: &Meta,
    value: &str,
    otherwise: Question<'_>,
) -> Proposal {
    Proposal::of(
        path,
        Txn::new()
            .when([
                absent(path.holder()),
                nobody_waits(path),
                absent(path.tombstone(&meta.request)),
                is_alive(alive),
            ])
            .and_then([
                put(path.holder(), value, lease),
                put(path.meta(), records::encode(meta), lease),
            ])
            .or_else(otherwise.ops()),
    )
}

/// Stands in the queue of a lock that was seen held, or waited for, by somebody else.
pub(super) fn enqueue(
    path: &LockPath,
    alive: Alive<'_>,
    seat: LeaseId,
    request: &RequestId,
    waiter: &Waiter,
    meta_revision: i64,
    otherwise: Question<'_>,
) -> Proposal {
    Proposal::of(
        path,
        Txn::new()
            .when([
                absent(path.waiter(request)),
                absent(path.tombstone(request)),
                unchanged(path.meta(), meta_revision),
                is_alive(alive),
            ])
            .and_then([
                put(path.waiter(request), records::encode(waiter), seat),
                put(keys::guard(waiter.lease), "", waiter.lease),
            ])
            .or_else(otherwise.ops()),
    )
}

/// Ends a tenure and gives the lock to the head of the queue, by writing over the holder key.
pub(super) fn hand_over(
    path: &LockPath,
    token: i64,
    head: &Waiting,
    ended: Option<(&RequestId, LeaseId)>,
    otherwise: Question<'_>,
) -> Proposal {
    let mut then = grant(path, head);
    then.extend(ended.map(|(request, lease)| tombstone(path, request, lease)));
    Proposal::of(
        path,
        Txn::new()
            .when([
                unchanged(path.holder(), token),
                unchanged(path.waiter(&head.request), head.revision),
                present(keys::guard(head.waiter.lease)),
                nobody_before(path, head),
            ])
            .and_then(then)
            .or_else(otherwise.ops()),
    )
}

/// Ends a tenure when nobody waits.
pub(super) fn release(
    path: &LockPath,
    token: i64,
    ended: Option<&RequestId>,
    tombstones: LeaseId,
    otherwise: Question<'_>,
) -> Proposal {
    let ending = records::encode(Ending {
        cause: Cause::Released,
        token,
    });
    let mut then = vec![
        delete(path.holder()),
        delete(path.meta()),
        put(path.ending(), ending, tombstones),
    ];
    then.extend(ended.map(|request| tombstone(path, request, tombstones)));
    Proposal::of(
        path,
        Txn::new()
            .when([unchanged(path.holder(), token), nobody_waits(path)])
            .and_then(then)
            .or_else(otherwise.ops()),
    )
}

/// Gives a free lock to the head of its queue: after an expiry nobody else does.
pub(super) fn promote(path: &LockPath, head: &Waiting, otherwise: Question<'_>) -> Proposal {
    Proposal::of(
        path,
        Txn::new()
            .when([
                absent(path.holder()),
                unchanged(path.waiter(&head.request), head.revision),
                present(keys::guard(head.waiter.lease)),
                nobody_before(path, head),
            ])
            .and_then(grant(path, head))
            .or_else(otherwise.ops()),
    )
}

/// Leaves the queue for good. The question is asked whichever way it goes.
pub(super) fn cancel(
    path: &LockPath,
    own: &Waiting,
    tombstones: LeaseId,
    question: Question<'_>,
) -> Proposal {
    let mut then = leave(path, own);
    then.push(tombstone(path, &own.request, tombstones));
    then.extend(question.ops());
    Proposal::of(
        path,
        Txn::new()
            .when([unchanged(path.waiter(&own.request), own.revision)])
            .and_then(then)
            .or_else(question.ops()),
    )
}

/// How many operations [`cancel`] does before it asks.
pub(super) const CANCEL_OPS: usize = 3;

/// Ends a request, whatever has become of it, and asks what has.
pub(super) fn end_request(
    path: &LockPath,
    request: &RequestId,
    tombstones: LeaseId,
    question: Question<'_>,
) -> Proposal {
    let mut then = vec![tombstone(path, request, tombstones)];
    then.extend(question.ops());
    Proposal::of(path, Txn::new().and_then(then))
}

/// How many operations [`end_request`] does before it asks.
pub(super) const END_REQUEST_OPS: usize = 1;

/// Removes an entry of this replica that no handler serves.
pub(super) fn sweep(path: &LockPath, stray: &Waiting) -> Proposal {
    Proposal::of(
        path,
        Txn::new()
            .when([unchanged(path.waiter(&stray.request), stray.revision)])
            .and_then(leave(path, stray)),
    )
}

/// Removes a waiter whose tenure lease is gone: it blocks the queue and can never be served.
pub(super) fn evict(path: &LockPath, dead: &Waiting) -> Proposal {
    Proposal::of(
        path,
        Txn::new()
            .when([
                unchanged(path.waiter(&dead.request), dead.revision),
                absent(keys::guard(dead.waiter.lease)),
            ])
            .and_then([delete(path.waiter(&dead.request))]),
    )
}

/// Looks at a lock.
pub(super) fn look(question: Question<'_>) -> Txn {
    Txn::new().and_then(question.ops())
}

/// The lock becomes the waiter's. Its guard stays: it belongs to the lease.
fn grant(path: &LockPath, head: &Waiting) -> Vec<TxnOp> {
    let meta = Meta::of_waiter(&head.request, &head.waiter);
    vec![
        put(path.holder(), head.waiter.value.as_str(), head.waiter.lease),
        put(path.meta(), records::encode(meta), head.waiter.lease),
        delete(path.waiter(&head.request)),
    ]
}

fn leave(path: &LockPath, waiting: &Waiting) -> Vec<TxnOp> {
    vec![
        delete(path.waiter(&waiting.request)),
        delete(keys::guard(waiting.waiter.lease)),
    ]
}

fn tombstone(path: &LockPath, request: &RequestId, lease: LeaseId) -> TxnOp {
    put(path.tombstone(request), "", lease)
}

fn put(key: String, value: impl Into<Vec<u8>>, lease: LeaseId) -> TxnOp {
    TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease.0)))
}

fn delete(key: String) -> TxnOp {
    TxnOp::delete(key, None::<DeleteOptions>)
}

fn absent(key: String) -> Compare {
    Compare::create_revision(key, CompareOp::Equal, 0)
}

fn present(key: String) -> Compare {
    Compare::create_revision(key, CompareOp::Greater, 0)
}

fn unchanged(key: String, revision: i64) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, revision)
}

fn is_alive(alive: Alive<'_>) -> Compare {
    Compare::create_revision(keys::replica(alive.replica), CompareOp::Equal, alive.since)
}

fn nobody_waits(path: &LockPath) -> Compare {
    Compare::create_revision(path.queue(), CompareOp::Equal, 0).with_prefix()
}

fn nobody_before(path: &LockPath, head: &Waiting) -> Compare {
    Compare::create_revision(path.queue(), CompareOp::Greater, head.place - 1).with_prefix()
}
