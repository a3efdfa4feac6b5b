//! What operators do after a loss, done here.

use std::time::Duration;

use testbed::{Postgres, eventually};

use super::{app, expect, primary, url};

/// From now on a commit is answered when the replica has it, too.
async fn wait_for_the_replica(primary: &Postgres) {
    for sql in [
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
        "SELECT pg_reload_conf()",
    ] {
        primary.sql(sql).await.unwrap();
    }
    eventually(
        "the replica to be waited for",
        Duration::from_secs(60),
        async || {
            let state = primary
                .sql("SELECT sync_state FROM pg_stat_replication")
                .await?;
            anyhow::ensure!(state == "sync", "{state}");
            Ok(())
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_replica_that_is_promoted_has_every_message_that_was_answered() {
    let primary = primary().await;
    let replica = primary.replica().await.unwrap();
    wait_for_the_replica(&primary).await;
    let before = app(&url(&primary)).await;
    let posting = async {
        let mut kept = Vec::new();
        for number in 0..10_000 {
            let text = format!("{number}");
            match before.caller().keep(&text).await {
                Ok(digest) => kept.push((digest, text)),
                Err(_) => break,
            }
        }
        kept
    };
    let losing = async {
        eventually(
            "posts to be answered",
            Duration::from_secs(60),
            async || {
                let posts = before
                    .metric("message_hash_commit_duration_seconds_count")
                    .await;
                (posts >= 50.0).then_some(()).ok_or(posts)
            },
        )
        .await
        .unwrap();
        primary.crash().await.unwrap();
    };
    let (kept, ()) = tokio::join!(posting, losing);
    assert!(kept.len() >= 50, "{}", kept.len());

    assert_eq!(replica.sql("SELECT pg_promote()").await.unwrap(), "t");
    let after = app(&url(&replica)).await;
    for (digest, text) in &kept {
        expect(&after, digest, text).await;
    }
    after.keep("and it goes on").await;
}
