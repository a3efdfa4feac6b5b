//! Several replicas on one etcd.

use std::{sync::Arc, time::Duration};

use shared_lock_svc::lease::{AcquireRequest, Acquisition, FencingToken, RequestId};
use tokio::{
    runtime::Runtime,
    time::{Instant, timeout},
};

use super::{IdleReplica, plain, replica, replica_on, shared};
use crate::contract::{Store, acquired, end, holds, key, queued, release, request, until, waits};

const LONG: Duration = Duration::from_secs(50);

async fn two_replicas() -> [Store; 2] {
    let etcd = shared().await.endpoint();
    [replica(etcd).await, replica(etcd).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_waiters_at_two_replicas_are_served_in_order_with_rising_tokens() {
    let replicas = two_replicas().await;
    let mut tenure = holds(&replicas[0], "hundred", "first").await;
    let mut waiters = Vec::new();
    for place in 0..100 {
        waiters.push(
            waits(
                &replicas[place % 2],
                "hundred",
                &format!("waiter {place}"),
                LONG,
            )
            .await,
        );
    }
    for (place, waiter) in waiters.into_iter().enumerate() {
        // Half of the releases come to the replica where the next one does not wait.
        assert!(release(&replicas[place / 2 % 2], "hundred", &tenure).await);
        let next = acquired(
            timeout(Duration::from_secs(5), waiter)
                .await
                .unwrap()
                .unwrap(),
        );
        assert!(next.fencing_token > tenure.fencing_token, "waiter {place}");
        tenure = next;
    }
    assert!(release(&replicas[0], "hundred", &tenure).await);
    let view = replicas[1].inspect(&key("hundred")).await.unwrap();
    assert_eq!((view.holders.len(), view.waiters.len()), (0, 0), "{view:?}");
}

#[tokio::test]
async fn a_hand_over_writes_over_the_holder_key_and_the_token_rises_all_the_same() {
    let [here, there] = two_replicas().await;
    let mut client = plain(shared().await).await;
    let first = holds(&here, "over", "first").await;
    let before = client.get("/shared-lock/over", None).await.unwrap().kvs()[0].clone();
    let waiter = waits(&there, "over", "second", LONG).await;
    assert!(release(&here, "over", &first).await);
    let second = acquired(waiter.await.unwrap());
    let after = client.get("/shared-lock/over", None).await.unwrap().kvs()[0].clone();
    assert_eq!(after.create_revision(), before.create_revision());
    assert!(after.mod_revision() > before.mod_revision());
    assert_eq!(after.value(), b"second");
    assert_eq!(after.lease(), second.lease_id.0);
    let token = |token: FencingToken| i64::try_from(token.0.get()).unwrap();
    assert_eq!(
        (token(first.fencing_token), token(second.fencing_token)),
        (before.mod_revision(), after.mod_revision())
    );
}

#[tokio::test]
async fn a_lock_that_expires_goes_to_the_oldest_waiter_whichever_replica_it_waits_at() {
    for (name, order) in [("oldest-1", [0, 1]), ("oldest-2", [1, 0])] {
        let replicas = two_replicas().await;
        let dies = AcquireRequest {
            anchor: shared_lock_svc::lease::Anchor::Own(Duration::from_secs(2)),
            ..request(name, "dies")
        };
        acquired(replicas[0].acquire(dies).await);
        let older = waits(&replicas[order[0]], name, "older", LONG).await;
        let younger = waits(&replicas[order[1]], name, "younger", LONG).await;
        let tenure = acquired(
            timeout(Duration::from_secs(6), older)
                .await
                .unwrap()
                .unwrap(),
        );
        assert!(!younger.is_finished());
        assert!(release(&replicas[0], name, &tenure).await);
        acquired(younger.await.unwrap());
    }
}

/// The head's own replica goes first, but nobody hangs on it.
#[tokio::test]
async fn any_replica_promotes_a_head_whose_own_does_not() {
    let [here, there] = two_replicas().await;
    let mut client = plain(shared().await).await;
    let tenure = holds(&here, "any", "first").await;
    IdleReplica::start(&mut client)
        .await
        .wait_for(&mut client, "any")
        .await;
    until(&there, "any", "the idle head waits", |view| {
        view.waiters.len() == 1
    })
    .await;
    // As an expiry would.
    client.lease_revoke(tenure.lease_id.0).await.unwrap();
    let took = until(&there, "any", "the idle head holds", |view| {
        view.holders.iter().any(|it| {
            it.holder
                .as_ref()
                .is_some_and(|name| name.as_str() == "idle")
        })
    })
    .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_request_lives_at_one_replica_and_is_known_at_the_other() {
    let [here, there] = two_replicas().await;
    let first = request("known", "first");
    let tenure = acquired(here.acquire(first.clone()).await);
    let asked = AcquireRequest {
        wait: LONG,
        ..request("known", "second")
    };
    let waiter = queued(&here, asked.clone()).await;
    assert_eq!(
        there.acquire(asked.clone()).await.unwrap(),
        Acquisition::RequestKnown,
        "while it waits"
    );
    assert!(release(&there, "known", &tenure).await);
    let tenure = acquired(waiter.await.unwrap());
    assert_eq!(
        there.acquire(asked.clone()).await.unwrap(),
        Acquisition::RequestKnown,
        "while it holds"
    );
    assert_eq!(
        here.acquire(asked.clone()).await.unwrap(),
        Acquisition::RequestKnown,
        "its answer was given"
    );
    assert!(release(&there, "known", &tenure).await);
    for store in [&here, &there] {
        for ended in [&first, &asked] {
            let outcome = store.acquire(ended.clone()).await.unwrap();
            assert_eq!(outcome, Acquisition::RequestEnded);
        }
    }
}

#[tokio::test]
async fn a_request_is_ended_by_its_id_at_any_replica() {
    let [here, there] = two_replicas().await;
    let first = request("ended", "first");
    acquired(here.acquire(first.clone()).await);
    let second = AcquireRequest {
        wait: LONG,
        ..request("ended", "second")
    };
    let waiter = queued(&here, second.clone()).await;
    let third = waits(&here, "ended", "third", LONG).await;
    assert!(end(&there, "ended", &second.request_id).await);
    assert_eq!(waiter.await.unwrap().unwrap(), Acquisition::RequestEnded);
    assert!(end(&there, "ended", &first.request_id).await);
    let tenure = acquired(third.await.unwrap());
    for request in [&first.request_id, &second.request_id, &RequestId::random()] {
        assert!(
            !end(&there, "ended", request).await,
            "nothing is left of it"
        );
    }
    assert!(
        release(&there, "ended", &tenure).await,
        "the third holds on"
    );
}

/// A request that is ended before its proposal lands must never hold.
#[tokio::test]
async fn a_request_that_was_ended_elsewhere_before_it_came_gets_nothing() {
    let [here, there] = two_replicas().await;
    let free = request("before", "first");
    assert!(!end(&there, "before", &free.request_id).await);
    assert_eq!(
        here.acquire(free).await.unwrap(),
        Acquisition::RequestEnded,
        "the lock is free"
    );
    holds(&here, "before", "second").await;
    let waits = AcquireRequest {
        wait: LONG,
        ..request("before", "third")
    };
    assert!(!end(&there, "before", &waits.request_id).await);
    assert_eq!(
        here.acquire(waits).await.unwrap(),
        Acquisition::RequestEnded,
        "the lock is held"
    );
}

#[tokio::test]
async fn a_late_release_at_the_other_replica_does_not_free_the_next_tenure() {
    let [here, there] = two_replicas().await;
    let first = holds(&here, "late", "first").await;
    let waiter = waits(&there, "late", "second", LONG).await;
    assert!(release(&here, "late", &first).await);
    acquired(waiter.await.unwrap());
    for store in [&here, &there] {
        assert!(!release(store, "late", &first).await);
    }
    let view = here.inspect(&key("late")).await.unwrap();
    assert_eq!(view.holders[0].holder.as_ref().unwrap().as_str(), "second");
}

#[tokio::test]
async fn the_waiters_of_a_dead_replica_leave_within_four_seconds_and_the_queue_moves_on() {
    let etcd = shared().await.endpoint();
    let runtime = Runtime::new().unwrap();
    let dead = replica_on(&runtime, etcd).await;
    let [here, there] = two_replicas().await;
    let tenure = holds(&here, "dead", "first").await;
    let orphan = AcquireRequest {
        wait: LONG,
        ..request("dead", "orphan")
    };
    let store = Arc::clone(&dead);
    runtime.spawn(async move { store.acquire(orphan).await });
    until(&here, "dead", "the orphan waits", |view| {
        view.waiters.len() == 1
    })
    .await;
    let heir = waits(&there, "dead", "heir", LONG).await;
    runtime.shutdown_background();
    let killed = Instant::now();
    until(&here, "dead", "the orphan is gone", |view| {
        view.waiters.len() == 1
    })
    .await;
    assert!(
        killed.elapsed() < Duration::from_secs(4),
        "{:?}",
        killed.elapsed()
    );
    assert!(release(&here, "dead", &tenure).await);
    acquired(
        timeout(Duration::from_secs(1), heir)
            .await
            .unwrap()
            .unwrap(),
    );
}

/// The lock is free, and its head belongs to a replica that has just died.
#[tokio::test]
async fn a_lock_handed_to_a_dead_replica_goes_on_when_its_lease_ends() {
    let etcd = shared().await.endpoint();
    let runtime = Runtime::new().unwrap();
    let dead = replica_on(&runtime, etcd).await;
    let [here, _] = two_replicas().await;
    let tenure = holds(&here, "handed-dead", "first").await;
    let orphan = AcquireRequest {
        wait: LONG,
        anchor: shared_lock_svc::lease::Anchor::Own(Duration::from_secs(2)),
        ..request("handed-dead", "orphan")
    };
    let store = Arc::clone(&dead);
    runtime.spawn(async move { store.acquire(orphan).await });
    until(&here, "handed-dead", "the orphan waits", |view| {
        view.waiters.len() == 1
    })
    .await;
    let heir = waits(&here, "handed-dead", "heir", LONG).await;
    runtime.shutdown_background();
    assert!(release(&here, "handed-dead", &tenure).await);
    acquired(
        timeout(Duration::from_secs(6), heir)
            .await
            .unwrap()
            .unwrap(),
    );
}
