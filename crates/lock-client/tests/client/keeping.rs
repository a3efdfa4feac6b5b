//! Renewal, and knowing in time that it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::scripted::{Reply, Scripted, client, for_ttl};

#[tokio::test]
async fn a_guard_renews_itself_every_third_of_its_ttl() {
    let ttl = Duration::from_millis(1_500);
    let server = Scripted::start(move |request, _| Reply::well(request, ttl)).await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    let acquired = server.requests("acquire")[0].at;
    let renewals = server.wait_for("keepalive", 4).await;
    assert!(guard.is_valid(), "the lease has lived longer than its TTL");
    for (number, renewal) in renewals.iter().enumerate() {
        assert_eq!(renewal.body["lease_ids"], json!(["707"]));
        let age = renewal.at - acquired;
        let due = ttl / 3 * (number as u32 + 1);
        assert!(
            age + Duration::from_millis(50) > due && age < due + ttl / 3,
            "{number}: {age:?}"
        );
    }
}

#[tokio::test]
async fn a_guard_is_lost_before_a_silent_server_lets_its_lease_expire() {
    let ttl = Duration::from_millis(1_500);
    let server = Scripted::start(
        move |request, before| match (request.action.as_str(), before) {
            ("acquire", _) => Reply::granted(request, 7, ttl),
            ("keepalive", 0..2) => Reply::kept(request, ttl),
            _ => Reply::Silence,
        },
    )
    .await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    guard.lost().await;
    let lost = Instant::now();
    assert!(!guard.is_valid() && guard.remaining().is_zero());
    // The server counts from the moment at which it saw the last renewal that it answered.
    let expires = server.requests("keepalive")[1].at + ttl;
    let spare = expires
        .checked_duration_since(lost)
        .expect("lost before it expires");
    assert!(spare < Duration::from_millis(350), "{spare:?}");
    assert!(server.requests("keepalive").len() > 3, "it did try again");
}

#[tokio::test]
async fn a_renewal_counts_from_its_send_however_late_it_is_answered() {
    let ttl = Duration::from_millis(1_500);
    let server = Scripted::start(
        move |request, before| match (request.action.as_str(), before) {
            ("acquire", _) => Reply::granted(request, 7, ttl),
            ("keepalive", 0) => Reply::After(
                Duration::from_millis(400),
                Box::new(Reply::kept(request, ttl)),
            ),
            _ => Reply::Silence,
        },
    )
    .await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    guard.lost().await;
    let renewed = server.requests("keepalive")[0].at;
    assert!(Instant::now() < renewed + ttl, "{:?}", renewed.elapsed());
    assert!(renewed.elapsed() > ttl / 2, "the renewal counted");
}

#[tokio::test]
async fn a_guard_is_lost_before_a_dead_server_could_have_given_the_lock_away() {
    let ttl = Duration::from_millis(1_500);
    let server = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, ttl),
        _ => Reply::Cut,
    })
    .await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    guard.lost().await;
    assert!(Instant::now() < server.requests("acquire")[0].at + ttl);
}

#[tokio::test]
async fn renewals_survive_a_burst_of_503() {
    let ttl = Duration::from_secs(3);
    let server = Scripted::start(
        move |request, before| match (request.action.as_str(), before) {
            ("acquire", _) => Reply::granted(request, 7, ttl),
            ("keepalive", 1..6) => Reply::problem(503, "store-unavailable"),
            ("keepalive", _) => Reply::kept(request, ttl),
            _ => Reply::released(true),
        },
    )
    .await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    tokio::select! {
        () = guard.lost() => panic!("lost after {} renewals", server.requests("keepalive").len()),
        _ = server.wait_for("keepalive", 9) => (),
    }
    assert!(guard.is_valid());
}

#[tokio::test]
async fn renewals_go_to_another_server_when_theirs_dies() {
    let ttl = Duration::from_millis(1_500);
    let first = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, ttl),
        _ => Reply::Silence,
    })
    .await;
    let second = Scripted::start(move |request, _| Reply::kept(request, ttl)).await;
    let guard = client([first.url(), second.url()])
        .acquire("k", for_ttl(ttl))
        .await
        .unwrap();
    second.wait_for("keepalive", 3).await;
    assert!(guard.is_valid());
    assert_eq!(first.requests("keepalive").len(), 1);
}

#[tokio::test]
async fn a_lease_that_the_service_knows_no_more_is_lost_at_once() {
    let ttl = Duration::from_secs(3);
    let server = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, ttl),
        "keepalive" => Reply::gone(request),
        _ => Reply::released(false),
    })
    .await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    guard.lost().await;
    assert!(server.requests("keepalive")[0].at.elapsed() < Duration::from_secs(1));
    assert!(!guard.is_valid());
    // Whoever asks after it happened is told as well.
    guard.lost().await;
}

#[tokio::test]
async fn a_404_of_something_else_is_no_loss() {
    let ttl = Duration::from_millis(1_500);
    let server = Scripted::start(
        move |request, before| match (request.action.as_str(), before) {
            ("acquire", _) => Reply::granted(request, 7, ttl),
            ("keepalive", 0) => Reply::problem(404, "not-found"),
            ("keepalive", _) => Reply::kept(request, ttl),
            _ => Reply::released(true),
        },
    )
    .await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    server.wait_for("keepalive", 3).await;
    assert!(guard.is_valid());
}

#[tokio::test]
async fn a_ttl_granted_anew_is_the_one_that_counts() {
    let (long, short) = (Duration::from_secs(3), Duration::from_millis(900));
    let renewed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&renewed);
    let server = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, long),
        "keepalive" if count.fetch_add(1, Ordering::Relaxed) == 0 => Reply::kept(request, short),
        _ => Reply::Silence,
    })
    .await;
    let guard = server.client().acquire("k", for_ttl(long)).await.unwrap();
    guard.lost().await;
    assert!(Instant::now() < server.requests("keepalive")[0].at + short);
    assert!(renewed.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn losing_is_told_to_everyone_who_waits_for_it() {
    let ttl = Duration::from_secs(3);
    let server = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, ttl),
        _ => Reply::Silence,
    })
    .await;
    let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
    let watchers: Vec<_> = (0..3).map(|_| tokio::spawn(guard.lost())).collect();
    drop(guard);
    for watcher in watchers {
        tokio::time::timeout(Duration::from_secs(1), watcher)
            .await
            .unwrap()
            .unwrap();
    }
}
