//! Taking a lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use shared_lock_svc::{
    lease::{AcquireRequest, Acquisition},
    store::StoreError,
};
use tokio::task::JoinSet;

use super::{Store, acquired, assert_between, end, holds, key, release, request};

pub(super) async fn a_free_lock_is_granted(store: Store) {
    let tenure = holds(&store, "free", "a").await;
    assert_ne!(tenure.lease_id.0, 0);
    assert_eq!(tenure.ttl, Duration::from_secs(120));
    assert_between(
        tenure.until.left(),
        Duration::from_secs(118),
        Duration::from_secs(120),
    );
}

pub(super) async fn a_lease_lives_whole_seconds_from_two_up(store: Store) {
    for (asked_ms, granted) in [(1, 2), (2000, 2), (2001, 3), (60_000, 60), (59_500, 60)] {
        let name = format!("ttl-{asked_ms}");
        let asked = AcquireRequest {
            anchor: shared_lock_svc::lease::Anchor::Own(Duration::from_millis(asked_ms)),
            ..request(&name, "a")
        };
        let tenure = acquired(store.acquire(asked).await);
        assert_eq!(tenure.ttl, Duration::from_secs(granted), "{asked_ms} ms");
        assert!(tenure.until.left() <= tenure.ttl);
        let kept = store.keep_alive(&key(&name), tenure.lease_id).await;
        assert_eq!(kept.unwrap().unwrap().ttl, Duration::from_secs(granted));
    }
}

pub(super) async fn a_second_holder_is_told_who_holds_the_lock(store: Store) {
    let tenure = holds(&store, "second", "first").await;
    let Acquisition::Held(held) = store.acquire(request("second", "other")).await.unwrap() else {
        panic!("the lock was not held");
    };
    assert_eq!(held.holder.unwrap().as_str(), "first");
    assert_eq!(held.lease_id, Some(tenure.lease_id));
    assert_between(
        held.remaining.unwrap(),
        Duration::from_secs(100),
        Duration::from_secs(121),
    );
    assert!(held.held_for.unwrap_or_default() < Duration::from_secs(10));
    assert_eq!(held.queue_length, 0);
}

pub(super) async fn tokens_rise_with_every_grant(store: Store) {
    let mut last = None;
    for _ in 0..5 {
        let tenure = holds(&store, "tokens", "a").await;
        assert!(
            last < Some(tenure.fencing_token),
            "{last:?} then {tenure:?}"
        );
        last = Some(tenure.fencing_token);
        assert!(release(&store, "tokens", &tenure).await);
    }
}

pub(super) async fn everybody_sees_holder_and_metadata(store: Store) {
    assert_eq!(
        store.inspect(&key("seen")).await.unwrap(),
        Default::default()
    );
    let metadata = BTreeMap::from([("team".to_owned(), "pläne".to_owned())]);
    let asked = AcquireRequest {
        metadata: metadata.clone(),
        ..request("seen", "me")
    };
    let tenure = acquired(store.acquire(asked).await);
    let view = store.inspect(&key("seen")).await.unwrap();
    let [holder] = view.holders.as_slice() else {
        panic!("{view:?}")
    };
    assert_eq!(holder.holder.as_ref().unwrap().as_str(), "me");
    assert_eq!(holder.fencing_token, tenure.fencing_token);
    assert_eq!(holder.ttl, Some(tenure.ttl));
    assert_between(
        holder.remaining.unwrap(),
        Duration::from_secs(100),
        Duration::from_secs(121),
    );
    assert_eq!(holder.metadata, metadata);
    assert!(view.waiters.is_empty());
    assert!(release(&store, "seen", &tenure).await);
    assert_eq!(
        store.inspect(&key("seen")).await.unwrap(),
        Default::default()
    );
}

pub(super) async fn keys_that_look_alike_are_different_locks(store: Store) {
    let long = "k".repeat(1024);
    let keys = [
        "", "/", "a", "a/", "a//", "a/b", "A", "a%2Fb", "..", ".", "ä", "a\u{308}", "a\0", &long,
    ];
    for name in keys {
        holds(&store, name, "a").await;
    }
    for name in keys {
        let again = store.acquire(request(name, "b")).await.unwrap();
        assert!(matches!(again, Acquisition::Held(_)), "{name:?}: {again:?}");
    }
}

pub(super) async fn a_request_that_holds_is_known(store: Store) {
    let asked = request("known", "a");
    acquired(store.acquire(asked.clone()).await);
    let again = store.acquire(asked.clone()).await.unwrap();
    assert_eq!(again, Acquisition::RequestKnown);
    assert!(end(&store, "known", &asked.request_id).await);
}

pub(super) async fn an_absurd_ttl_is_refused(store: Store) {
    let asked = AcquireRequest {
        anchor: shared_lock_svc::lease::Anchor::Own(Duration::from_secs(9_000_000_001)),
        ..request("absurd", "a")
    };
    let outcome = store.acquire(asked).await;
    assert!(
        matches!(outcome, Err(StoreError::Refused(_))),
        "{outcome:?}"
    );
    holds(&store, "absurd", "b").await;
}

pub(super) async fn one_holder_at_a_time_under_load(store: Store) {
    let inside = Arc::new(AtomicBool::new(false));
    let highest = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for worker in 0..12 {
        let (store, inside, highest) = (store.clone(), inside.clone(), highest.clone());
        workers.spawn(async move {
            for _ in 0..5 {
                let asked = AcquireRequest {
                    wait: Duration::from_secs(50),
                    ..request("load", &format!("worker {worker}"))
                };
                let tenure = acquired(store.acquire(asked).await);
                assert!(!inside.swap(true, Ordering::SeqCst), "two holders");
                let token = tenure.fencing_token.0.get();
                assert!(highest.fetch_max(token, Ordering::SeqCst) < token);
                tokio::task::yield_now().await;
                inside.store(false, Ordering::SeqCst);
                assert!(release(&store, "load", &tenure).await);
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
}
