//! Rows by which requests enter the queue and leave it.

use super::{
    super::{cancel, enqueue, evict, sweep},
    *,
};

/// Stands in the queue of a lock that somebody holds, with a change since that was seen.
async fn enqueues(mode: Mode, change: Change) -> bool {
    let mut world = World::new().await;
    world.holds(world.meta(Mode::Exclusive)).await;
    let seen = world.revision_of(world.path.meta()).await;
    let meta = world.meta(mode);
    world.make(change, &meta).await;
    let (waiter, question) = (world.waiter(meta), world.question());
    let place = (&waiter, world.lease);
    let row = enqueue(&world.path, world.alive(), place, seen, &question);
    world.passes(row).await
}

#[tokio::test]
async fn a_request_stands_in_the_queue_if_it_neither_holds_nor_waits_nor_has_ended() {
    let common = [
        Change::Tombstone,
        Change::OwnEntry,
        Change::ReplicaGone,
        Change::ReplicaReborn,
        Change::SessionGone,
    ];
    for mode in [Mode::Exclusive, Mode::Shared, permit(3, 1)] {
        for change in common {
            assert!(!enqueues(mode, change).await, "{mode:?} {change:?}");
        }
        for change in [Change::Nothing, Change::Waiter] {
            assert!(enqueues(mode, change).await, "{mode:?} {change:?}");
        }
    }
    // Who holds an exclusive lock may be the request itself, granted meanwhile.
    assert!(!enqueues(Mode::Exclusive, Change::AnotherHolder).await);
    for change in [Change::OwnReader, Change::OwnPermit] {
        assert!(!enqueues(Mode::Shared, change).await, "{change:?}");
        assert!(!enqueues(permit(3, 1), change).await, "{change:?}");
    }
}

#[tokio::test]
async fn a_free_lock_is_waited_for_only_as_long_as_it_is_free() {
    let mut world = World::new().await;
    let meta = world.meta(Mode::Exclusive);
    let waiter = world.waiter(meta.clone());
    let path = world.path.clone();
    world.holds(meta).await;
    let row = enqueue(
        &path,
        world.alive(),
        (&waiter, world.lease),
        0,
        &Question::about(&path),
    );
    assert!(!world.passes(row).await, "it holds the lock itself");
}

#[tokio::test]
async fn only_the_entry_that_was_seen_leaves_the_queue() {
    let mut world = World::new().await;
    let path = world.path.clone();
    for session in [true, false] {
        let mut meta = world.meta(Mode::Exclusive);
        if !session {
            meta.leases = world.own_lease().await;
        }
        let lease = meta.leases.lease;
        let own = world.waits_with(meta).await;
        let newer = world.writes(&own.request, &own.waiter).await;
        assert!(
            !world
                .passes(cancel(&path, &own, world.lease, &Question::about(&path)))
                .await
        );
        assert!(!world.passes(sweep(&path, &own)).await);
        assert!(!world.is_there(path.tombstone(&own.request)).await);
        let own = Waiting {
            revision: newer,
            ..own
        };
        assert!(
            world
                .passes(cancel(&path, &own, world.lease, &Question::about(&path)))
                .await
        );
        assert!(world.is_there(path.tombstone(&own.request)).await);
        assert!(!world.is_there(path.waiter(&own.request)).await);
        // A session is nobody's to end but its own.
        assert_eq!(world.is_there(keys::guard(lease)).await, session);
    }
}

#[tokio::test]
async fn only_a_waiter_whose_lease_is_gone_is_evicted() {
    let mut world = World::new().await;
    let path = world.path.clone();
    let waiting = world.waits(Mode::Exclusive).await;
    let lease = waiting.waiter.meta.leases.lease;
    assert!(
        !world.passes(evict(&path, &waiting, lease)).await,
        "it lives"
    );
    world.delete(keys::guard(lease)).await;
    let older = Waiting {
        revision: waiting.revision - 1,
        ..waiting.clone()
    };
    assert!(
        !world.passes(evict(&path, &older, lease)).await,
        "it is another entry"
    );
    assert!(world.passes(evict(&path, &waiting, lease)).await);
    assert!(!world.is_there(path.waiter(&waiting.request)).await);
}
