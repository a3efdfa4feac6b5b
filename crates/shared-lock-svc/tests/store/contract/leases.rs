//! Leases that are named without their lock.

use std::time::Duration;

use shared_lock_svc::lease::{Acquisition, LeaseId};
use tokio::time::{Instant, sleep_until};

use super::{Store, assert_between, holds, release, request, short, takes, until};

pub(super) async fn a_lease_is_kept_alive_by_its_id_alone(store: Store) {
    let started = Instant::now();
    let tenure = takes(&store, short(request("bare", "first"))).await;
    for round in 1..=4 {
        sleep_until(started + Duration::from_secs(round)).await;
        let kept = store.keep_lease_alive(tenure.lease_id).await;
        let kept = kept.unwrap().expect("the lease lives");
        assert_eq!(kept.ttl, Duration::from_secs(2));
        assert_between(
            kept.until.left(),
            Duration::from_millis(1500),
            Duration::from_secs(2),
        );
    }
    let other = store.acquire(request("bare", "second")).await.unwrap();
    assert!(matches!(other, Acquisition::Held(_)), "{other:?}");
    assert!(release(&store, "bare", &tenure).await);
}

pub(super) async fn a_lease_that_is_gone_is_not_kept_alive(store: Store) {
    let tenure = takes(&store, short(request("bare-gone", "first"))).await;
    until(&store, "bare-gone", "the lease ran out", |view| {
        view.holders.is_empty()
    })
    .await;
    assert_eq!(store.keep_lease_alive(tenure.lease_id).await.unwrap(), None);
    holds(&store, "bare-gone", "second").await;
    for nonsense in [0, -1, 1, i64::MIN, i64::MAX] {
        let kept = store.keep_lease_alive(LeaseId(nonsense)).await;
        assert_eq!(kept.unwrap(), None, "{nonsense}");
    }
}
