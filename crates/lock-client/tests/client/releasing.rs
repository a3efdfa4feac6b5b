//! Giving a lock back, by hand and by drop.

use std::pin::pin;
use std::time::{Duration, Instant};

use lock_client::Error;
use serde_json::json;
use testbed::FaultProxy;

use crate::scripted::{Reply, Scripted, for_ttl};
use crate::service::{client, shared};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_dropped_guard_is_released_in_the_background_and_renewed_no_more() {
    let ttl = Duration::from_millis(900);
    let server = Scripted::start(move |request, _| Reply::well(request, ttl)).await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    server.wait_for("keepalive", 1).await;
    drop(guard);
    let released = server.wait_for("release", 1).await;
    assert_eq!(
        released[0].body,
        json!({ "lease_id": "707", "fencing_token": "7" })
    );
    let renewals = server.requests("keepalive").len();
    tokio::time::sleep(ttl).await;
    assert_eq!(server.requests("keepalive").len(), renewals);
    assert_eq!(server.requests("release").len(), 1);
}

#[tokio::test]
async fn a_release_is_repeated_until_it_is_answered() {
    let server = Scripted::start(|request, before| match (request.action.as_str(), before) {
        ("acquire", _) => Reply::granted(request, 7, TTL),
        ("release", 0) => Reply::Cut,
        ("release", 1) => Reply::problem(503, "store-unavailable"),
        // The first one had been heard.
        _ => Reply::released(false),
    })
    .await;
    let guard = server.client().acquire("k", for_ttl(TTL)).await.unwrap();
    guard.release().await.unwrap();
    assert_eq!(server.requests("release").len(), 3);
}

#[tokio::test]
async fn a_release_that_comes_too_late_says_that_the_lock_was_lost() {
    let server = Scripted::start(|request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, TTL),
        _ => Reply::released(false),
    })
    .await;
    let guard = server.client().acquire("k", for_ttl(TTL)).await.unwrap();
    let error = guard.release().await.unwrap_err();
    assert!(
        matches!(&error, Error::Lost { key } if key == "k"),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "lock `k` was lost");
}

#[tokio::test]
async fn a_release_that_nobody_heard_at_first_still_says_that_the_lock_was_lost() {
    let service = shared().await;
    let proxy = FaultProxy::start(service.url()).await.unwrap();
    let cut_off = client(&proxy.url(), "cut off");
    let guard = cut_off.acquire("nobody-heard", for_ttl(TTL)).await.unwrap();
    proxy.refuse().await.unwrap();
    assert!(cut_off.ready().await.is_err());
    let other = client(service.url(), "somebody else");
    other.force_release("nobody-heard", "a test").await.unwrap();
    let mut release = pin!(guard.release());
    let refused = tokio::time::timeout(Duration::from_millis(500), &mut release).await;
    assert!(refused.is_err(), "it goes on trying");
    proxy.pass().await.unwrap();
    let error = release.await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn a_release_that_nobody_answers_ends_with_the_lease() {
    let ttl = Duration::from_secs(1);
    let server = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, ttl),
        _ => Reply::Cut,
    })
    .await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    let started = Instant::now();
    let error = guard.release().await.unwrap_err();
    assert!(error.is_outage(), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_release_dropped_half_way_goes_on_in_the_background() {
    let server = Scripted::start(|request, before| match (request.action.as_str(), before) {
        ("acquire", _) => Reply::granted(request, 7, TTL),
        ("release", 0) => Reply::Silence,
        _ => Reply::released(true),
    })
    .await;
    let guard = server.client().acquire("k", for_ttl(TTL)).await.unwrap();
    tokio::select! {
        outcome = guard.release() => panic!("{outcome:?}"),
        _ = server.wait_for("release", 1) => (),
    }
    let released = server.wait_for("release", 2).await;
    assert_eq!(released[0].body, released[1].body);
}
