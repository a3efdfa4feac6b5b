//! Whether a tenure is current.

use std::{num::NonZeroU64, time::Duration};

use shared_lock_svc::lease::{Claim, FencingToken, LeaseId, RequestId};
use tokio::time::{Instant, sleep_until};

use super::{
    Store, assert_between, claim, holds, key, opens, patient, queued, reader, release, request,
    short, takes, within,
};

/// Whether `claim` is current, checked for the token it is told.
async fn current(store: &Store, name: &str, claim: &Claim) -> bool {
    let verified = store.verify(&key(name), claim).await.unwrap();
    if let (Some(verified), Claim::Tenure { fencing_token, .. }) = (&verified, claim) {
        assert_eq!(verified.fencing_token, *fencing_token);
    }
    verified.is_some()
}

pub(super) async fn a_tenure_is_current_until_it_is_released(store: Store) {
    let asked = request("current", "a");
    let tenure = takes(&store, asked.clone()).await;
    let of_request = Claim::Request(asked.request_id);
    for claim in [claim(&tenure), of_request.clone()] {
        let verified = store.verify(&key("current"), &claim).await.unwrap();
        let verified = verified.expect("it is current");
        assert_eq!(verified.fencing_token, tenure.fencing_token);
        let (least, most) = (Duration::from_secs(100), Duration::from_secs(121));
        assert_between(verified.remaining.unwrap(), least, most);
    }
    assert!(release(&store, "current", &tenure).await);
    holds(&store, "current", "next").await;
    assert!(!current(&store, "current", &claim(&tenure)).await);
    assert!(!current(&store, "current", &of_request).await);
}

pub(super) async fn lease_and_token_must_both_be_right(store: Store) {
    let tenure = holds(&store, "both", "a").await;
    holds(&store, "neither", "a").await;
    let other_token = Claim::Tenure {
        lease_id: tenure.lease_id,
        fencing_token: FencingToken(NonZeroU64::MAX),
    };
    let other_lease = Claim::Tenure {
        lease_id: LeaseId(tenure.lease_id.0 ^ 1),
        fencing_token: tenure.fencing_token,
    };
    let nobody = Claim::Request(RequestId::random());
    for claim in [other_token, other_lease, nobody] {
        assert!(!current(&store, "both", &claim).await, "{claim:?}");
    }
    assert!(!current(&store, "neither", &claim(&tenure)).await);
    assert!(!current(&store, "never held", &claim(&tenure)).await);
}

pub(super) async fn a_tenure_that_expired_is_not_current(store: Store) {
    let asked = Instant::now();
    let tenure = takes(&store, short(request("not-current", "a"))).await;
    assert!(current(&store, "not-current", &claim(&tenure)).await);
    while current(&store, "not-current", &claim(&tenure)).await {
        assert!(asked.elapsed() < Duration::from_secs(5));
        sleep_until(Instant::now() + Duration::from_millis(20)).await;
    }
    assert_eq!(tenure.until.left(), Duration::ZERO);
}

pub(super) async fn what_waits_is_not_current(store: Store) {
    holds(&store, "waits-only", "first").await;
    let asked = patient(request("waits-only", "second"));
    let waiter = queued(&store, asked.clone()).await;
    assert!(!current(&store, "waits-only", &Claim::Request(asked.request_id)).await);
    waiter.abort();
}

pub(super) async fn each_of_several_tenures_is_verified_by_itself(store: Store) {
    let session = opens(&store, "several").await;
    let asked = || within(&session, reader("several", "several"));
    let first = takes(&store, asked()).await;
    let second = takes(&store, asked()).await;
    let other = takes(&store, reader("several", "other")).await;
    assert!(release(&store, "several", &first).await);
    assert!(!current(&store, "several", &claim(&first)).await);
    assert!(current(&store, "several", &claim(&second)).await);
    assert!(current(&store, "several", &claim(&other)).await);
    assert!(store.end_session(session.id).await.unwrap());
    assert!(!current(&store, "several", &claim(&second)).await);
    assert!(current(&store, "several", &claim(&other)).await);
}
