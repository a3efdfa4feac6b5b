//! Replicas of tentens-tech/shared-lock on the same etcd.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use shared_lock_svc::lease::{AcquireRequest, Acquisition, LeaseId};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{plain, replica, shared};
use crate::contract::{acquired, comes_soon, end, holds, key, release, request, waits};

const LONG: Duration = Duration::from_secs(50);

/// What that server does for one `POST /lease`: the lease if the lock is its own now.
async fn four_calls(client: &mut Client, name: &str, ttl: i64) -> Option<i64> {
    let key = format!("/shared-lock/{name}");
    if !client
        .get(key.as_str(), None)
        .await
        .unwrap()
        .kvs()
        .is_empty()
    {
        return None;
    }
    let lease = client.lease_grant(ttl, None).await.unwrap().id();
    let free = Compare::create_revision(key.as_str(), CompareOp::Equal, 0);
    let put = TxnOp::put(
        key.as_str(),
        "peer",
        Some(PutOptions::new().with_lease(lease)),
    );
    if !client
        .txn(Txn::new().when([free]).and_then([put]))
        .await
        .unwrap()
        .succeeded()
    {
        client.lease_revoke(lease).await.unwrap();
        return None;
    }
    client.lease_keep_alive(lease).await.unwrap();
    Some(lease)
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_and_replicas_of_ours_never_hold_together() {
    let etcd = shared().await;
    let replicas = [
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    ];
    let inside = Arc::new(AtomicUsize::new(0));
    let (ours, theirs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut hands = JoinSet::new();
    for hand in 0..4_usize {
        let (store, inside, ours) = (
            Arc::clone(&replicas[hand % 2]),
            Arc::clone(&inside),
            Arc::clone(&ours),
        );
        let theirs = Arc::clone(&theirs);
        hands.spawn(async move {
            while ours.load(Ordering::SeqCst) < 60 || theirs.load(Ordering::SeqCst) < 20 {
                let wait = if hand < 2 {
                    Duration::ZERO
                } else {
                    Duration::from_secs(5)
                };
                let asked = AcquireRequest {
                    wait,
                    ..request("mixed", &format!("ours {hand}"))
                };
                if let Acquisition::Acquired(tenure) = store.acquire(asked).await.unwrap() {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                    ours.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(1)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    assert!(release(&store, "mixed", &tenure).await);
                    sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }
    for _ in 0..4 {
        let (mut client, inside) = (plain(etcd).await, Arc::clone(&inside));
        let (ours, theirs) = (Arc::clone(&ours), Arc::clone(&theirs));
        hands.spawn(async move {
            while ours.load(Ordering::SeqCst) < 60 || theirs.load(Ordering::SeqCst) < 20 {
                if let Some(lease) = four_calls(&mut client, "mixed", 10).await {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                    theirs.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(1)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    client.lease_revoke(lease).await.unwrap();
                }
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
}

#[tokio::test]
async fn a_lock_of_a_peer_is_waited_for_and_gained_when_it_goes() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let lease = four_calls(&mut client, "peers", 10).await.unwrap();
    let Acquisition::Held(held) = store.acquire(request("peers", "ours")).await.unwrap() else {
        panic!("it is held")
    };
    assert_eq!((held.holder, held.lease_id), (None, Some(LeaseId(lease))));
    assert!(
        held.remaining
            .is_some_and(|left| left <= Duration::from_secs(10)),
        "{:?}",
        held.remaining
    );
    let view = store.inspect(&key("peers")).await.unwrap();
    assert_eq!(
        (view.holders[0].holder.as_ref(), view.holders[0].ttl),
        (None, Some(Duration::from_secs(10)))
    );
    assert!(
        store
            .keep_alive(&key("peers"), LeaseId(lease))
            .await
            .unwrap()
            .is_some(),
        "their lease renews here"
    );
    let waiter = waits(&store, "peers", "ours", LONG).await;
    client.lease_revoke(lease).await.unwrap();
    comes_soon(waiter).await;
}

#[tokio::test]
async fn a_lock_without_a_lease_is_held_by_nobody_known() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    client
        .put("/shared-lock/by-hand", "anything", None)
        .await
        .unwrap();
    let Acquisition::Held(held) = store.acquire(request("by-hand", "ours")).await.unwrap() else {
        panic!("it is held")
    };
    assert_eq!(
        (held.holder, held.lease_id, held.remaining),
        (None, None, None)
    );
    let waiter = waits(&store, "by-hand", "ours", LONG).await;
    client.delete("/shared-lock/by-hand", None).await.unwrap();
    comes_soon(waiter).await;
}

/// Our note of the tenure hangs on its lease, and outlives a holder key that is deleted by hand.
#[tokio::test]
async fn a_note_of_a_tenure_that_was_deleted_by_hand_says_nothing_of_the_next() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let asked = request("by-hand-too", "ours");
    let tenure = acquired(store.acquire(asked.clone()).await);
    client
        .delete("/shared-lock/by-hand-too", None)
        .await
        .unwrap();
    let lease = four_calls(&mut client, "by-hand-too", 10).await.unwrap();
    let view = store.inspect(&key("by-hand-too")).await.unwrap();
    assert_eq!(view.holders[0].holder, None, "{view:?}");
    assert!(!end(&store, "by-hand-too", &asked.request_id).await);
    assert!(!release(&store, "by-hand-too", &tenure).await);
    assert!(
        store
            .keep_alive(&key("by-hand-too"), tenure.lease_id)
            .await
            .unwrap()
            .is_none()
    );
    client.lease_revoke(lease).await.unwrap();
    holds(&store, "by-hand-too", "next").await;
}

#[tokio::test]
async fn the_holder_key_and_its_bytes_are_theirs() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let asked = AcquireRequest {
        value: "any \u{1F512} bytes".into(),
        ..request("a/b c", "holder")
    };
    let tenure = acquired(store.acquire(asked).await);
    let seen = client.get("/shared-lock/a/b c", None).await.unwrap();
    assert_eq!(seen.kvs()[0].value(), "any \u{1F512} bytes".as_bytes());
    assert_eq!(seen.kvs()[0].lease(), tenure.lease_id.0);
    assert_eq!(four_calls(&mut client, "a/b c", 10).await, None);
    assert!(release(&store, "a/b c", &tenure).await);
    let lease = four_calls(&mut client, "a/b c", 10).await.unwrap();
    client.lease_revoke(lease).await.unwrap();
    holds(&store, "a/b c", "again").await;
}
