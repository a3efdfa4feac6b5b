//! An administrator's word against all holders.

use std::time::Duration;

use shared_lock_svc::{
    lease::{AcquireRequest, Acquisition, LockView},
    store::ForceRelease,
};
use tokio::time::Instant;

use super::{
    Store, gets, holds, key, opens, patient, permit, reader, release, request, takes, waits, within,
};

async fn force(store: &Store, name: &str) -> LockView {
    let order = ForceRelease {
        reason: Some("it hangs".into()),
        trace_id: None,
    };
    store.force_release(&key(name), order).await.unwrap()
}

pub(super) async fn every_tenure_ends_and_everybody_is_named(store: Store) {
    let asked = reader("forced", "a");
    let first = takes(&store, asked.clone()).await;
    let second = takes(&store, reader("forced", "b")).await;
    let waiter = waits(&store, "forced", "writer", super::LONG).await;
    let view = force(&store, "forced").await;
    let named: Vec<_> = view.holders.iter().map(|h| h.fencing_token).collect();
    assert_eq!(named, [first.fencing_token, second.fencing_token]);
    let writer = gets(waiter).await;
    assert!(writer.fencing_token > second.fencing_token);
    for tenure in [first, second] {
        let kept = store.keep_alive(&key("forced"), tenure.lease_id).await;
        assert_eq!(kept.unwrap(), None);
        assert!(!release(&store, "forced", &tenure).await);
    }
    let again = store.acquire(asked).await.unwrap();
    assert_eq!(again, Acquisition::RequestEnded);
    assert!(release(&store, "forced", &writer).await);
}

pub(super) async fn a_free_lock_is_left_as_it_is(store: Store) {
    assert_eq!(force(&store, "forced-free").await, LockView::default());
    holds(&store, "forced-free", "a").await;
}

pub(super) async fn permits_end_like_all_others(store: Store) {
    takes(&store, permit("forced-permits", "a", 3, 2)).await;
    takes(&store, permit("forced-permits", "b", 3, 1)).await;
    assert_eq!(force(&store, "forced-permits").await.holders.len(), 2);
    holds(&store, "forced-permits", "c").await;
}

pub(super) async fn there_is_no_delay_after_force(store: Store) {
    let started = Instant::now();
    let asked = AcquireRequest {
        lock_delay: Duration::from_secs(60),
        ..request("forced-rest", "a")
    };
    takes(&store, asked).await;
    force(&store, "forced-rest").await;
    let next = takes(&store, patient(request("forced-rest", "b"))).await;
    assert!(release(&store, "forced-rest", &next).await);
    assert!(started.elapsed() < Duration::from_secs(10));
}

pub(super) async fn the_session_of_a_holder_goes_on(store: Store) {
    let session = opens(&store, "goes on").await;
    takes(&store, within(&session, request("forced-session", "a"))).await;
    let other = takes(&store, within(&session, request("forced-other", "a"))).await;
    force(&store, "forced-session").await;
    holds(&store, "forced-session", "b").await;
    assert!(store.keep_lease_alive(session.id).await.unwrap().is_some());
    assert!(release(&store, "forced-other", &other).await);
}
