//! The lease cache of the tentens-tech/shared-lock wire.

use std::time::Duration;

use testbed::eventually;

use crate::app::TestApp;

#[tokio::test]
async fn a_cached_answer_names_the_holder_and_is_soon_asked_for_again() {
    let app = TestApp::with(&[("CACHE_ENABLED", "true"), ("CACHE_SIZE", "2")]).await;
    let created = app.lease("x-lease-ttl: 2s\r\n", r#"{"key":"a"}"#).await;
    let accepted = app.lease("x-lease-ttl: 60s\r\n", r#"{"key":"a"}"#).await;
    assert_eq!((accepted.status, &accepted.body), (202, &created.body));
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
