//! Standing in the queue.

use std::time::Duration;

use shared_lock_svc::lease::{AcquireRequest, Acquisition};
use tokio::time::{Instant, timeout};

use super::{
    Store, acquired, assert_between, holds, queued, release, request, start, until, waits,
};

const LONG: Duration = Duration::from_secs(50);

pub(super) async fn a_waiter_gets_the_lock_when_it_is_released(store: Store) {
    let first = holds(&store, "handed", "first").await;
    let waiter = waits(&store, "handed", "second", LONG).await;
    let released = Instant::now();
    assert!(release(&store, "handed", &first).await);
    let second = acquired(waiter.await.unwrap());
    assert!(released.elapsed() < Duration::from_secs(1));
    assert!(second.fencing_token > first.fencing_token);
    assert_ne!(second.lease_id, first.lease_id);
    assert_between(
        second.until.left(),
        Duration::from_secs(118),
        Duration::from_secs(120),
    );
}

pub(super) async fn waiters_are_served_in_the_order_of_their_arrival(store: Store) {
    let mut tenure = holds(&store, "order", "first").await;
    let mut waiters = Vec::new();
    for place in 0..5 {
        waiters.push(waits(&store, "order", &format!("waiter {place}"), LONG).await);
    }
    let view = store.inspect(&super::key("order")).await.unwrap();
    let names: Vec<_> = view.waiters.iter().map(|w| w.holder.as_str()).collect();
    assert_eq!(
        names,
        ["waiter 0", "waiter 1", "waiter 2", "waiter 3", "waiter 4"]
    );
    for waiter in waiters {
        assert!(release(&store, "order", &tenure).await);
        let next = acquired(waiter.await.unwrap());
        assert!(next.fencing_token > tenure.fencing_token);
        tenure = next;
    }
}

pub(super) async fn a_wait_that_is_over_ends_and_leaves_the_queue(store: Store) {
    let tenure = holds(&store, "over", "first").await;
    let asked = AcquireRequest {
        wait: Duration::from_millis(300),
        ..request("over", "second")
    };
    let started = Instant::now();
    let outcome = store.acquire(asked.clone()).await.unwrap();
    assert_between(
        started.elapsed(),
        Duration::from_millis(300),
        Duration::from_secs(2),
    );
    let Acquisition::Held(held) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(held.lease_id, Some(tenure.lease_id));
    until(&store, "over", "the queue is empty", |view| {
        view.waiters.is_empty()
    })
    .await;
    let again = store.acquire(asked).await.unwrap();
    assert_eq!(again, Acquisition::RequestEnded, "one id is one request");
}

pub(super) async fn a_waiter_that_is_dropped_leaves_the_queue_within_a_second(store: Store) {
    let tenure = holds(&store, "dropped", "first").await;
    let leaver = waits(&store, "dropped", "leaver", LONG).await;
    let stayer = waits(&store, "dropped", "stayer", LONG).await;
    leaver.abort();
    let took = until(&store, "dropped", "the leaver is gone", |view| {
        view.waiters.len() == 1 && view.waiters[0].holder.as_str() == "stayer"
    })
    .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(release(&store, "dropped", &tenure).await);
    acquired(stayer.await.unwrap());
}

/// The lock is handed to a waiter whose caller leaves in the same moment: nobody must hold it.
pub(super) async fn a_waiter_that_is_dropped_as_it_wins_holds_nothing(store: Store) {
    for round in 0..20 {
        let name = format!("wins-{round}");
        let tenure = holds(&store, &name, "first").await;
        let leaver = waits(&store, &name, "leaver", LONG).await;
        let (released, ()) = tokio::join!(release(&store, &name, &tenure), async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            leaver.abort();
        });
        assert!(released);
        match leaver.await {
            // It was told before its caller left: the lock is its own to release.
            Ok(outcome) => assert!(release(&store, &name, &acquired(outcome)).await),
            Err(_) => {
                until(&store, &name, "the lock is free", |view| {
                    view.holders.is_empty() && view.waiters.is_empty()
                })
                .await;
            }
        }
        holds(&store, &name, "next").await;
    }
}

pub(super) async fn a_request_that_arrives_again_joins_the_first(store: Store) {
    let tenure = holds(&store, "joined", "first").await;
    let asked = AcquireRequest {
        wait: LONG,
        ..request("joined", "second")
    };
    let once = queued(&store, asked.clone()).await;
    let mut twice = start(&store, asked);
    assert!(
        timeout(Duration::from_millis(200), &mut twice)
            .await
            .is_err(),
        "it waits as well"
    );
    let view = store.inspect(&super::key("joined")).await.unwrap();
    assert_eq!(view.waiters.len(), 1, "{view:?}");
    assert!(release(&store, "joined", &tenure).await);
    let (once, twice) = (
        acquired(once.await.unwrap()),
        acquired(twice.await.unwrap()),
    );
    assert_eq!(once.fencing_token, twice.fencing_token);
    assert_eq!(once.lease_id, twice.lease_id);
    assert!(release(&store, "joined", &once).await);
}

pub(super) async fn a_caller_that_leaves_does_not_end_the_request_of_another(store: Store) {
    let tenure = holds(&store, "shared", "first").await;
    let asked = AcquireRequest {
        wait: LONG,
        ..request("shared", "second")
    };
    let leaves = queued(&store, asked.clone()).await;
    let mut stays = start(&store, asked);
    assert!(
        timeout(Duration::from_millis(200), &mut stays)
            .await
            .is_err()
    );
    leaves.abort();
    assert!(leaves.await.is_err());
    assert!(
        timeout(Duration::from_millis(200), &mut stays)
            .await
            .is_err()
    );
    assert!(release(&store, "shared", &tenure).await);
    acquired(stays.await.unwrap());
}
