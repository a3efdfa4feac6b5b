//! What one replica sees of the others: events, listings, and waits that go round in a ring.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shared_lock_svc::{
    lease::{AcquireRequest, Acquisition, Anchor, EventKind, LockEvent, PageRequest},
    store::ForceRelease,
};
use testbed::Etcd;
use tokio::{
    runtime::Runtime,
    sync::broadcast::Receiver,
    time::{Instant, timeout},
};

use super::{plain, replica, replica_on, shared};
use crate::contract::{
    gets, holds, key, opens, patient, queued, reader, release, request, start, takes, within,
};

type Feed = Receiver<Arc<LockEvent>>;

/// The next event of a lock.
async fn next(feed: &mut Feed, lock: &str) -> Arc<LockEvent> {
    loop {
        let event = timeout(Duration::from_secs(20), feed.recv()).await;
        let event = event
            .unwrap_or_else(|_| panic!("never: an event of {lock}"))
            .unwrap();
        if event.key.as_str() == lock {
            return event;
        }
    }
}

/// Events of a lock, each with how many of the replicas are to record it.
async fn recorded(feeds: &mut [Feed], lock: &str, count: usize) -> Vec<(EventKind, usize)> {
    let mut events: BTreeMap<usize, (EventKind, usize)> = BTreeMap::new();
    for feed in feeds {
        for turn in 0..count {
            let event = next(feed, lock).await;
            let told = events.entry(turn).or_insert((event.kind, 0));
            assert_eq!(told.0, event.kind, "all replicas see the same order");
            told.1 += usize::from(event.is_ours);
        }
    }
    events.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_sees_every_event_and_one_of_them_records_it() {
    let etcd = shared().await;
    let (one, two) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    let lock = "recorded";
    let mut feeds = [one.events(), two.events()];
    let first = holds(&one, lock, "first").await;
    let waiter = queued(&two, patient(request(lock, "second"))).await;
    assert!(release(&two, lock, &first).await);
    gets(waiter).await;
    let order = ForceRelease {
        reason: None,
        trace_id: None,
    };
    one.force_release(&key(lock), order).await.unwrap();
    let expected = [
        EventKind::Acquired,
        EventKind::Queued,
        EventKind::Released,
        EventKind::Acquired,
        EventKind::Lost,
    ];
    let seen = recorded(&mut feeds, lock, expected.len()).await;
    assert_eq!(seen, expected.map(|kind| (kind, 1)));
}

#[test]
fn what_becomes_of_the_tenures_of_a_dead_replica_is_recorded_by_another() {
    let (runtime, dying) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    runtime.block_on(async {
        // Of its own, since any replica that is alive may be the one to record.
        let etcd = Etcd::start().await.unwrap();
        let dead = replica_on(&dying, etcd.endpoint()).await;
        let alive = replica(etcd.endpoint()).await;
        let mut feed = alive.events();
        // Longer than the replica is missed.
        let outlives = AcquireRequest {
            anchor: Anchor::Own(Duration::from_secs(6)),
            ..request("orphaned", "dead")
        };
        takes(&dead, outlives).await;
        let acquired = next(&mut feed, "orphaned").await;
        assert!(!acquired.is_ours, "the replica that granted it is alive");
        drop(dead);
        dying.shutdown_background();
        let expired = next(&mut feed, "orphaned").await;
        assert_eq!((expired.kind, expired.is_ours), (EventKind::Expired, true));
    });
}

#[tokio::test]
async fn a_holder_key_that_a_plain_client_writes_over_or_deletes_is_lost() {
    let etcd = shared().await;
    let (store, mut client) = (replica(etcd.endpoint()).await, plain(etcd).await);
    let mut feed = store.events();
    holds(&store, "taken", "ours").await;
    assert_eq!(next(&mut feed, "taken").await.kind, EventKind::Acquired);
    client
        .put("/shared-lock/taken", "theirs", None)
        .await
        .unwrap();
    let lost = next(&mut feed, "taken").await;
    assert_eq!(lost.kind, EventKind::Lost);
    assert_eq!(lost.holder.as_ref().unwrap().as_str(), "ours");
    let theirs = next(&mut feed, "taken").await;
    assert_eq!((theirs.kind, &theirs.holder), (EventKind::Acquired, &None));
}

#[tokio::test]
async fn a_listing_shows_what_another_replica_did_just_before() {
    let etcd = shared().await;
    let (one, two) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    for turn in 0..50 {
        let page = PageRequest {
            prefix: "just-before/".to_owned(),
            after: None,
            limit: 10,
        };
        let lock = format!("just-before/{turn}");
        let tenure = holds(&one, &lock, "holder").await;
        let listed = two.list(&page).await.unwrap().locks;
        assert_eq!(listed.len(), 1, "{turn}: {listed:?}");
        assert_eq!(listed[0].0.as_str(), lock);
        assert!(release(&one, &lock, &tenure).await);
        assert!(two.list(&page).await.unwrap().locks.is_empty(), "{turn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_over_two_locks_and_two_replicas_is_told_to_one_within_a_second() {
    let etcd = shared().await;
    let (here, there) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    for turn in 0..10 {
        let (left, right) = (format!("ring-left-{turn}"), format!("ring-right-{turn}"));
        let (one, two) = (opens(&here, "one").await, opens(&there, "two").await);
        takes(&here, within(&one, request(&left, "one"))).await;
        takes(&there, within(&two, request(&right, "two"))).await;
        // At the same time: neither sees the other when it joins its queue.
        let asked = Instant::now();
        let mut first = start(&here, patient(within(&one, request(&right, "one"))));
        let mut second = start(&there, patient(within(&two, reader(&left, "two"))));
        let (told, other) = tokio::select! {
            told = &mut first => (told, second),
            told = &mut second => (told, first),
        };
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{turn}: {:?}",
            asked.elapsed()
        );
        let Ok(Ok(Acquisition::Deadlock(ring))) = told else {
            panic!("{turn}: expected a deadlock, got {told:?}");
        };
        assert_eq!(ring.len(), 2, "{ring:?}");
        // The other one goes on waiting, and is served when the victim lets go.
        let victim = if ring[0].1.as_str() == "one" {
            one
        } else {
            two
        };
        assert!(here.end_session(victim.id).await.unwrap());
        gets(other).await;
    }
}
