//! Leases that run out, and leases that do not.

use std::time::Duration;

use shared_lock_svc::lease::{AcquireRequest, Acquisition, LeaseId};
use tokio::time::{Instant, sleep_until};

use super::{Store, acquired, assert_between, holds, key, release, request, until, waits};

fn short(name: &str) -> AcquireRequest {
    AcquireRequest {
        anchor: shared_lock_svc::lease::Anchor::Own(Duration::from_secs(2)),
        ..request(name, "first")
    }
}

/// A store may end a lease later than its TTL says, never earlier; a slow one within two seconds.
pub(super) async fn a_lock_that_is_not_kept_alive_goes_to_the_next_waiter_and_not_too_early(
    store: Store,
) {
    let asked = Instant::now();
    let first = acquired(store.acquire(short("expires")).await);
    let waiter = waits(&store, "expires", "second", Duration::from_secs(30)).await;
    let second = acquired(waiter.await.unwrap());
    assert_between(
        asked.elapsed(),
        first.until.left_at(asked),
        Duration::from_millis(4500),
    );
    assert!(second.fencing_token > first.fencing_token);
    let kept = store.keep_alive(&key("expires"), first.lease_id).await;
    assert_eq!(kept.unwrap(), None);
    assert!(!release(&store, "expires", &first).await);
    assert!(release(&store, "expires", &second).await);
}

pub(super) async fn a_lock_that_is_kept_alive_outlives_its_ttl(store: Store) {
    let started = Instant::now();
    let tenure = acquired(store.acquire(short("kept")).await);
    for round in 1..=5 {
        sleep_until(started + Duration::from_secs(round)).await;
        let kept = store.keep_alive(&key("kept"), tenure.lease_id).await;
        let kept = kept.unwrap().expect("the lease lives");
        assert_eq!(kept.ttl, Duration::from_secs(2));
        assert_between(
            kept.until.left(),
            Duration::from_millis(1500),
            Duration::from_secs(2),
        );
    }
    let other = store.acquire(request("kept", "second")).await.unwrap();
    assert!(matches!(other, Acquisition::Held(_)), "{other:?}");
    assert!(release(&store, "kept", &tenure).await);
}

pub(super) async fn only_the_lease_that_holds_keeps_a_lock_alive(store: Store) {
    let mine = holds(&store, "mine", "a").await;
    holds(&store, "theirs", "b").await;
    let kept = store.keep_alive(&key("theirs"), mine.lease_id).await;
    assert_eq!(kept.unwrap(), None);
    for nonsense in [0, -1, 1, i64::MIN, i64::MAX] {
        let kept = store.keep_alive(&key("mine"), LeaseId(nonsense)).await;
        assert_eq!(kept.unwrap(), None, "{nonsense}");
    }
}

pub(super) async fn a_request_whose_lease_ran_out_frees_the_lock(store: Store) {
    acquired(store.acquire(short("runs-out")).await);
    let took = until(&store, "runs-out", "the lock is free", |view| {
        view.holders.is_empty()
    })
    .await;
    assert_between(
        took,
        Duration::from_millis(1500),
        Duration::from_millis(4500),
    );
    holds(&store, "runs-out", "second").await;
}
