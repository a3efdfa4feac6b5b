//! What can be seen of PostgreSQL from outside.

use message_hash_svc::digest::Digest;

use super::{app_with, primary, url};

#[tokio::test]
async fn what_is_done_on_postgresql_is_counted_by_shard_and_pool() {
    let primary = primary().await;
    let replica = primary.replica().await.unwrap();
    let shards = format!("{},{}", url(&primary), url(&replica));
    let app = app_with(&shards, &[("CACHE_BYTES", "0")]).await;
    for message in ["a", "b", "c"] {
        app.keep(message).await;
    }
    let absent = format!("/messages/{}", Digest::of(b"never posted"));
    assert_eq!(app.get(&absent).await.status, 404);

    assert_eq!(
        app.metric("message_hash_commit_duration_seconds_count")
            .await,
        3.0
    );
    assert_eq!(app.metric("message_hash_commit_posts_sum").await, 3.0);
    let of = |name: &str, pool: &str, more: &str| {
        format!("message_hash_postgres_{name}{{{more}pool=\"{pool}\",shard=\"main\"}}")
    };
    let up = of("up", "primary", "");
    assert_eq!(app.metric(&up).await, 1.0);
    assert_eq!(app.metric(&of("up", "replica-1", "")).await, 1.0);
    let misses = "message_hash_postgres_replica_misses_total{shard=\"main\"}";
    assert_eq!(app.metric(misses).await, 1.0);
    let idle = "message_hash_postgres_connections{pool=\"primary\",shard=\"main\",state=\"idle\"}";
    assert!(app.metric(idle).await >= 1.0);
    let looked = of(
        "call_duration_seconds_count",
        "primary-lookups",
        "outcome=\"answered\",",
    );
    assert!(app.metric(&looked).await >= 1.0);

    primary.crash().await.unwrap();
    for _ in 0..2 {
        let body = r#"{"message":"d"}"#;
        assert_eq!(app.post("application/json", body).await.status, 503);
    }
    assert_eq!(app.metric(&up).await, 0.0);
    let failed = of(
        "call_duration_seconds_count",
        "primary",
        "outcome=\"failed\",",
    );
    assert!(app.metric(&failed).await >= 1.0);
    let rested =
        "message_hash_postgres_not_asked_total{pool=\"primary\",shard=\"main\",why=\"resting\"}";
    assert!(app.metric(rested).await >= 1.0);
}
