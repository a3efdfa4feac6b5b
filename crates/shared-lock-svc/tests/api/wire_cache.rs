//! The lease cache of the tentens-tech/shared-lock wire.

use std::time::{Duration, Instant};

use testbed::eventually;

use crate::app::TestApp;

/// How long an entry lives.
const STALENESS: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_cached_answer_names_the_holder_and_is_soon_asked_for_again() {
    let app = TestApp::with(&[("CACHE_ENABLED", "true"), ("CACHE_SIZE", "2")]).await;
    let asks = r#"{"key":"a","value":"who 100%"}"#;
    let created = app.lease("x-lease-ttl: 2s\r\n", asks).await;
    let accepted = app.lease("x-lease-ttl: 60s\r\n", r#"{"key":"a"}"#).await;
    assert_eq!((accepted.status, &accepted.body), (202, &created.body));
    assert_eq!(accepted.header("x-lock-holder"), Some("who 100%25"));
    let hits = |metrics: &str, operation: &str, status: &str| {
        let name = format!(
            "shared_lock_cache_operations_total{{operation=\"{operation}\",status=\"{status}\"}} "
        );
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    let metrics = app.get_text("/metrics").await;
    assert_eq!(hits(&metrics, "get", "miss"), 1);
    assert_eq!(hits(&metrics, "get", "hit"), 1);
    assert_eq!(hits(&metrics, "set", "success"), 1);

    // The holder dies. However long the asker's own TTL, nobody is refused for long after that.
    eventually("the lock is free", Duration::from_secs(5), async || {
        let answer = app.lease("x-lease-ttl: 60s\r\n", r#"{"key":"a"}"#).await;
        match answer.status {
            201 => Ok(()),
            status => Err(status),
        }
    })
    .await
    .unwrap();
    for key in ["b", "c", "d"] {
        app.lease("", format!(r#"{{"key":"{key}"}}"#)).await;
    }
    let metrics = app.get_text("/metrics").await;
    assert!(hits(&metrics, "evict", "size_limit") >= 1, "{metrics}");
    eventually(
        "what is old is swept",
        Duration::from_secs(5),
        async || match hits(&app.get_text("/metrics").await, "cleanup", "expired") {
            0 => Err("nothing was swept"),
            _ => Ok(()),
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_release_here_is_seen_at_once() {
    let app = TestApp::with(&[("CACHE_ENABLED", "1")]).await;
    let tenure = app.holds("a", "me").await;
    assert_eq!(app.lease("", r#"{"key":"a"}"#).await.status, 202);
    app.gives_back("a", &tenure).await;
    assert_eq!(app.lease("", r#"{"key":"a"}"#).await.status, 201);
}

/// The other replica knows nothing of the first one's cache: the watch tells of the end.
#[tokio::test]
async fn a_release_at_another_replica_is_heard_of_through_etcd() {
    let (etcd, here) = TestApp::on_etcd(&[("CACHE_ENABLED", "true")]).await;
    let store = [
        ("STORAGE_TYPE", "etcd"),
        ("ETCD_ADDR_LIST", etcd.endpoint()),
    ];
    let there = TestApp::with(&store).await;
    let hit = "shared_lock_cache_operations_total{operation=\"get\",status=\"hit\"} 1";
    let tenure = there.holds("a", "me").await;
    for _ in 0..2 {
        let held = here.lease("", r#"{"key":"a"}"#).await;
        assert_eq!(
            (held.status, held.header("x-lock-holder")),
            (202, Some("me"))
        );
    }
    let metrics = here.get_text("/metrics").await;
    assert!(metrics.contains(hit), "{metrics}");
    there.gives_back("a", &tenure).await;
    let released = Instant::now();
    eventually("the lock is free", STALENESS, async || {
        match here.lease("", r#"{"key":"a"}"#).await.status {
            201 => Ok(()),
            status => Err(status),
        }
    })
    .await
    .unwrap();
    // An entry lives a second: one that nobody had struck out would have been told for as long.
    assert!(
        released.elapsed() < STALENESS / 2,
        "{:?}",
        released.elapsed()
    );
}
