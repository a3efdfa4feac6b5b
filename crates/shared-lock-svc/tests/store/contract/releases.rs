//! Giving a lock back, by tenure or by request.

use std::{num::NonZeroU64, time::Duration};

use shared_lock_svc::lease::{
    AcquireRequest, Acquisition, FencingToken, LeaseId, RequestId, Tenure,
};

use super::{Store, acquired, end, holds, queued, release, request, until};

pub(super) async fn a_release_ends_one_tenure_and_is_safe_to_repeat(store: Store) {
    let tenure = holds(&store, "release", "a").await;
    assert!(release(&store, "release", &tenure).await);
    assert!(!release(&store, "release", &tenure).await);
    holds(&store, "release", "b").await;
    assert!(!release(&store, "release", &tenure).await);
}

pub(super) async fn a_late_release_does_not_free_the_next_tenure(store: Store) {
    let tenure = holds(&store, "late", "a").await;
    let other_token = Tenure {
        fencing_token: FencingToken(NonZeroU64::MAX),
        ..tenure.clone()
    };
    let other_lease = Tenure {
        lease_id: LeaseId(tenure.lease_id.0 ^ 1),
        ..tenure.clone()
    };
    assert!(!release(&store, "late", &other_token).await);
    assert!(!release(&store, "late", &other_lease).await);
    let again = store.acquire(request("late", "b")).await.unwrap();
    assert!(matches!(again, Acquisition::Held(_)), "{again:?}");
    assert!(release(&store, "late", &tenure).await);
}

pub(super) async fn a_request_id_ends_what_it_holds(store: Store) {
    let asked = request("ends", "a");
    let tenure = acquired(store.acquire(asked.clone()).await);
    assert!(end(&store, "ends", &asked.request_id).await);
    assert!(!end(&store, "ends", &asked.request_id).await);
    let kept = store.keep_alive(&asked.key, tenure.lease_id).await;
    assert_eq!(kept.unwrap(), None);
    let again = store.acquire(asked).await.unwrap();
    assert_eq!(again, Acquisition::RequestEnded);
    holds(&store, "ends", "b").await;
}

pub(super) async fn a_request_id_ends_what_waits(store: Store) {
    let tenure = holds(&store, "ends-waiting", "first").await;
    let asked = AcquireRequest {
        wait: Duration::from_secs(50),
        ..request("ends-waiting", "second")
    };
    let waiter = queued(&store, asked.clone()).await;
    assert!(end(&store, "ends-waiting", &asked.request_id).await);
    let outcome = waiter.await.unwrap().unwrap();
    assert_eq!(outcome, Acquisition::RequestEnded);
    until(&store, "ends-waiting", "the queue is empty", |view| {
        view.waiters.is_empty()
    })
    .await;
    assert!(release(&store, "ends-waiting", &tenure).await);
    holds(&store, "ends-waiting", "third").await;
}

pub(super) async fn a_request_that_was_ended_before_it_came_gets_nothing(store: Store) {
    let asked = request("ends-early", "a");
    assert!(!end(&store, "ends-early", &asked.request_id).await);
    let outcome = store.acquire(asked).await.unwrap();
    assert_eq!(outcome, Acquisition::RequestEnded);
    let unheard = RequestId::random();
    assert!(!end(&store, "ends-early", &unheard).await);
    holds(&store, "ends-early", "b").await;
}
