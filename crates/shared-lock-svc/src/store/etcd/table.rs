//! The protocol, one function a row: what must hold, and what is then done.
//!
//! | key | is | on lease |
//! |---|---|---|
//! | H `/shared-lock/<key>` | the exclusive holder, written once per tenure | tenure lease |
//! | M `/shared-lock-meta/E` | who that is; put and deleted only together with H | tenure lease |
//! | S `/shared-lock-hold/E/s/<request>` | a reader, written once | tenure lease |
//! | P `/shared-lock-hold/E/p/<request>` | a permit, written once | tenure lease |
//! | Q `/shared-lock-queue/E/<request>` | a request that waits; its create revision is its place | liveness lease of its replica |
//! | G `/shared-lock-lease/<lease>` | the lease of a waiter's tenure, or a session, is alive | that lease |
//! | D `/shared-lock-hold/E/r` | lock-delay, of exclusive tenures only | second lease of TTL + delay, kept alive with the first |
//! | T `/shared-lock-done/<request>/E` | the request has ended | a lease that outlives every proposal for it |
//! | L `/shared-lock-replica/<replica>` | the replica is alive | its liveness lease |
//!
//! Beside the protocol: `/shared-lock-ended/E`, which says how tenures ended, and
//! `/shared-lock-note/E`, what the last holder left to the next.
//!
//! E is the lock's name as one segment. The token of a tenure is the mod revision of its H, S or P.
//! The rows are those of the `lock-model` crate, which explores their interleavings: a change of
//! one starts there.
//!
//! etcd evaluates all compares of a transaction, nested ones too, on the state before it. So at
//! most one row per lock may ever travel in one transaction.

mod compares;
mod ending;
mod queue;
mod taking;
mod writes;

pub(super) use self::{
    compares::Alive,
    ending::{Parting, close, end_request, entomb, force_release, free, hand_over, leave, release},
    queue::{cancel, enqueue, evict, sweep},
    taking::{Wanted, acquire, acquire_all, promote},
};
use super::sight::Question;

/// Looks at a lock.
pub(super) fn look(question: &Question<'_>) -> etcd_client::Txn {
    etcd_client::Txn::new().and_then(question.ops())
}

#[cfg(test)]
mod tests;
