//! Locks as others see them.

use crate::{
    lease::{Held, HolderView, LockView, Mode, WaiterView},
    state::{Lock, Moment},
};

/// What somebody is told who does not get the lock.
pub(super) fn held(lock: Option<&Lock>, now: Moment) -> Held {
    let grant = lock.and_then(|lock| lock.grant.as_ref());
    Held {
        holder: grant.map(|grant| grant.wish.holder.clone()),
        lease_id: grant.map(|grant| grant.wish.lease_id),
        held_for: grant.map(|grant| now.since(grant.since)),
        remaining: grant.map(|grant| grant.until.since(now)),
        queue_length: lock.map_or(0, |lock| lock.queue.len()),
    }
}

/// What everybody may see.
pub(super) fn view(lock: &Lock, now: Moment) -> LockView {
    let holders = lock.grant.iter().map(|grant| HolderView {
        holder: Some(grant.wish.holder.clone()),
        mode: Mode::Exclusive,
        fencing_token: grant.token,
        held_for: Some(now.since(grant.since)),
        ttl: Some(grant.wish.ttl),
        remaining: Some(grant.until.since(now)),
        metadata: grant.wish.metadata.clone(),
    });
    let waiters = lock.queue.iter().map(|waiter| WaiterView {
        holder: waiter.wish.holder.clone(),
        mode: Mode::Exclusive,
        waiting_for: Some(now.since(waiter.since)),
    });
    LockView {
        holders: holders.collect(),
        waiters: waiters.collect(),
    }
}
