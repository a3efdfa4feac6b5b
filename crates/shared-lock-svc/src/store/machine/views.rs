//! Locks as others see them.

use crate::{
    lease::{Held, HolderView, LockKey, LockPage, LockView, PageRequest, WaiterView},
    state::{Grant, Lock, Moment, Table},
};

/// What somebody is told who does not get the lock.
pub(super) fn held(table: &Table, key: &LockKey, now: Moment) -> Held {
    let lock = table.lock(key);
    lock.map(|lock| held_of(lock, |grant| table.end_of(grant), now))
        .unwrap_or_default()
}

/// What everybody may see of a lock.
pub(super) fn view(table: &Table, key: &LockKey, now: Moment) -> LockView {
    let lock = table.lock(key);
    lock.map(|lock| as_it_stands(lock, |grant| table.end_of(grant), now))
        .unwrap_or_default()
}

/// A page of the locks that somebody holds or waits for.
pub(super) fn page(table: &Table, page: &PageRequest, now: Moment) -> LockPage {
    let mut busy = table.busy(&page.prefix, page.after.as_ref());
    let locks = busy
        .by_ref()
        .take(page.limit)
        .map(|(key, lock)| {
            let view = as_it_stands(lock, |grant| table.end_of(grant), now);
            (key.clone(), view)
        })
        .collect();
    LockPage {
        locks,
        more: busy.next().is_some(),
    }
}

/// A lock as somebody is told of it who does not get it; `end_of` says when a tenure ends.
pub(in crate::store) fn held_of(
    lock: &Lock,
    end_of: impl Fn(&Grant) -> Moment,
    now: Moment,
) -> Held {
    let grant = lock.grants.first();
    Held {
        holder: grant.map(|grant| grant.wish.holder.clone()),
        lease_id: grant.map(|grant| grant.wish.lease_id),
        held_for: grant.map(|grant| now.since(grant.since)),
        remaining: grant.map(|grant| end_of(grant).since(now)),
        queue_length: lock.queue.len(),
    }
}

/// A lock as everybody may see it; `end_of` says when a tenure ends.
pub(in crate::store) fn as_it_stands(
    lock: &Lock,
    end_of: impl Fn(&Grant) -> Moment,
    now: Moment,
) -> LockView {
    let holders = lock.grants.iter().map(|grant| HolderView {
        holder: Some(grant.wish.holder.clone()),
        mode: grant.wish.mode,
        fencing_token: grant.token,
        held_for: Some(now.since(grant.since)),
        ttl: Some(grant.wish.ttl),
        remaining: Some(end_of(grant).since(now)),
        metadata: grant.wish.metadata.clone(),
    });
    let waiters = lock.queue.iter().map(|waiter| WaiterView {
        holder: waiter.wish.holder.clone(),
        mode: waiter.wish.mode,
        waiting_for: Some(now.since(waiter.since)),
    });
    LockView {
        holders: holders.collect(),
        waiters: waiters.collect(),
    }
}
