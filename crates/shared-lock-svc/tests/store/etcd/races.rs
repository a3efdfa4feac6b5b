//! Two things at once, many times over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use shared_lock_svc::lease::{AcquireRequest, Acquisition};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{IdleReplica, plain, replica, shared};
use crate::contract::{acquired, end, holds, key, release, request, start, waits};

const LONG: Duration = Duration::from_secs(50);

/// One replica hands the lock to a waiter of the other, which leaves in that moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_that_meets_a_cancel_leaves_no_lock_behind() {
    let etcd = shared().await.endpoint();
    let (here, there) = (replica(etcd).await, replica(etcd).await);
    for round in 0..40 {
        let tenure = holds(&here, "cancel", "first").await;
        let leaver = waits(&there, "cancel", "leaver", LONG).await;
        let released = tokio::spawn({
            let here = Arc::clone(&here);
            async move { release(&here, "cancel", &tenure).await }
        });
        sleep(Duration::from_micros(100 * round)).await;
        leaver.abort();
        assert!(released.await.unwrap());
        if let Ok(outcome) = leaver.await {
            // It was told before its caller left.
            assert!(release(&there, "cancel", &acquired(outcome)).await);
        }
        let next = AcquireRequest {
            wait: Duration::from_secs(5),
            ..request("cancel", "next")
        };
        let next = acquired(here.acquire(next).await);
        assert!(release(&here, "cancel", &next).await);
    }
}

/// A wait ends just when the lock comes: the waiter is told either, and both are true.
#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_that_meets_the_end_of_the_wait_is_told_or_did_not_happen() {
    let etcd = shared().await.endpoint();
    let (here, there) = (replica(etcd).await, replica(etcd).await);
    let mut wins = 0;
    for round in 0..40 {
        let tenure = holds(&here, "wait-over", "first").await;
        let short = AcquireRequest {
            wait: Duration::from_millis(60),
            ..request("wait-over", "short")
        };
        let waiter = start(&there, short);
        sleep(Duration::from_millis(40 + round % 20)).await;
        assert!(release(&here, "wait-over", &tenure).await);
        match waiter.await.unwrap().unwrap() {
            Acquisition::Acquired(won) => {
                wins += 1;
                assert!(won.fencing_token > tenure.fencing_token);
                assert!(release(&there, "wait-over", &won).await);
            }
            Acquisition::Held(_) => {}
            other => panic!("{other:?}"),
        }
        let view = here.inspect(&key("wait-over")).await.unwrap();
        assert_eq!((view.holders.len(), view.waiters.len()), (0, 0), "{view:?}");
    }
    println!("{wins} of 40 won");
}

/// The client gives its request up at one replica while the other grants it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_ended_while_it_is_granted_holds_nothing() {
    let etcd = shared().await.endpoint();
    let (here, there) = (replica(etcd).await, replica(etcd).await);
    for round in 0..40_u64 {
        let asked = request("given-up", "first");
        let acquiring = tokio::spawn({
            let (here, asked) = (Arc::clone(&here), asked.clone());
            async move { here.acquire(asked).await }
        });
        sleep(Duration::from_micros(50 * round)).await;
        end(&there, "given-up", &asked.request_id).await;
        acquiring.await.unwrap().unwrap();
        // Told or not, it is over: the tombstone came first, or the release.
        let view = there.inspect(&key("given-up")).await.unwrap();
        assert_eq!(
            (view.holders.len(), view.waiters.len()),
            (0, 0),
            "round {round}: {view:?}"
        );
    }
}

/// The same, while it is on its way into the queue of a lock that is held.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_ended_while_it_queues_up_does_not_wait() {
    let etcd = shared().await.endpoint();
    let (here, there) = (replica(etcd).await, replica(etcd).await);
    holds(&there, "queues-up", "first").await;
    for round in 0..40 {
        let asked = AcquireRequest {
            wait: LONG,
            ..request("queues-up", "second")
        };
        let waiter = start(&here, asked.clone());
        sleep(Duration::from_micros(75 * round)).await;
        end(&there, "queues-up", &asked.request_id).await;
        let outcome = timeout(Duration::from_secs(5), waiter).await;
        let outcome = outcome.expect("it waits for ever").unwrap().unwrap();
        assert_eq!(outcome, Acquisition::RequestEnded, "round {round}");
    }
    let view = here.inspect(&key("queues-up")).await.unwrap();
    assert!(view.waiters.is_empty(), "{view:?}");
}

/// The replica that is asked to release has not seen yet that the tenure is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_comes_just_too_late_ends_nothing() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let mut waiters = Vec::new();
    for round in 0..40 {
        let name = format!("too-late {round}");
        let tenure = holds(&store, &name, "first").await;
        if round % 2 == 0 {
            waiters.push(waits(&store, &name, "waiter", LONG).await);
        }
        let (on_lease, holder_key) = (
            PutOptions::new().with_lease(lease),
            format!("/shared-lock/{name}"),
        );
        client
            .put(holder_key.as_str(), "another", Some(on_lease))
            .await
            .unwrap();
        assert!(!release(&store, &name, &tenure).await, "round {round}");
        let stands = client.get(holder_key.as_str(), None).await.unwrap();
        assert_eq!(stands.kvs()[0].value(), b"another", "round {round}");
    }
}

/// The replica that hands over has not seen yet that the next one is gone.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_handed_a_lock_that_has_just_left_the_queue() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let idle = IdleReplica::start(&mut client).await;
    for round in 0..40 {
        let name = format!("just-left {round}");
        let tenure = holds(&store, &name, "first").await;
        idle.wait_for(&mut client, &name).await;
        client.get("/shared-lock-epoch", None).await.unwrap();
        // As the liveness lease of its replica does: its tenure lease lives on.
        idle.vanish(&mut client, &name).await;
        assert!(release(&store, &name, &tenure).await);
        let view = store.inspect(&key(&name)).await.unwrap();
        assert!(view.holders.is_empty(), "round {round}: {view:?}");
    }
}

/// The replica that releases has not seen yet that somebody waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_has_just_come_is_handed_the_lock_without_a_gap() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let idle = IdleReplica::start(&mut client).await;
    for round in 0..40 {
        let name = format!("just-come {round}");
        let holder_key = format!("/shared-lock/{name}");
        let tenure = holds(&store, &name, "first").await;
        idle.wait_for(&mut client, &name).await;
        assert!(release(&store, &name, &tenure).await);
        let stands = client.get(holder_key, None).await.unwrap();
        let stands = stands
            .kvs()
            .first()
            .expect("the lock was free, and a peer could have it");
        assert_eq!(stands.value(), b"idle", "round {round}");
        assert!(
            stands.create_revision() < stands.mod_revision(),
            "round {round}: written over"
        );
    }
}

/// A lock expires, and a peer takes it before the head of the queue is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_faster_than_the_queue_keeps_what_it_took() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let (mut waiters, mut taken) = (Vec::new(), Vec::new());
    for round in 0..60 {
        let name = format!("faster {round}");
        let holder_key = format!("/shared-lock/{name}");
        let tenure = holds(&store, &name, "first").await;
        waiters.push(waits(&store, &name, "waiter", LONG).await);
        client.lease_revoke(tenure.lease_id.0).await.unwrap();
        let free = Compare::create_revision(holder_key.as_str(), CompareOp::Equal, 0);
        let put = TxnOp::put(
            holder_key.as_str(),
            "peer",
            Some(PutOptions::new().with_lease(lease)),
        );
        if client
            .txn(Txn::new().when([free]).and_then([put]))
            .await
            .unwrap()
            .succeeded()
        {
            taken.push(holder_key);
        }
    }
    assert!(!taken.is_empty(), "the peer is never faster");
    for holder_key in taken {
        let stands = client.get(holder_key.as_str(), None).await.unwrap();
        assert_eq!(stands.kvs()[0].value(), b"peer", "{holder_key}");
    }
}

/// Many hands on one lock, at three replicas: never two at once, and tokens in the order of holding.
#[tokio::test(flavor = "multi_thread")]
async fn one_holds_at_a_time_and_tokens_follow_the_order_of_holding() {
    let etcd = shared().await.endpoint();
    let replicas = [
        replica(etcd).await,
        replica(etcd).await,
        replica(etcd).await,
    ];
    let (inside, last, grants) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut hands = JoinSet::new();
    for hand in 0..12_usize {
        let store = Arc::clone(&replicas[hand % 3]);
        let (inside, last, grants) = (Arc::clone(&inside), Arc::clone(&last), Arc::clone(&grants));
        hands.spawn(async move {
            for round in 0..15 {
                let wait = if round % 3 == 0 {
                    Duration::from_millis(5)
                } else {
                    LONG
                };
                let asked = AcquireRequest {
                    wait,
                    ..request("hands", &format!("hand {hand}"))
                };
                let outcome = store.acquire(asked).await.unwrap();
                let Acquisition::Acquired(tenure) = outcome else {
                    continue;
                };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                let token = tenure.fencing_token.0.get();
                assert!(
                    last.swap(token, Ordering::SeqCst) < token,
                    "the token rises"
                );
                grants.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                assert!(release(&store, "hands", &tenure).await);
            }
        });
    }
    timeout(Duration::from_secs(60), async {
        while let Some(done) = hands.join_next().await {
            done.unwrap();
        }
    })
    .await
    .unwrap();
    assert!(grants.load(Ordering::SeqCst) >= 120);
}
