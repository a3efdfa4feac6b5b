//! What one replica of the service deletes, the others forget at once.

use std::time::Duration;

use message_hash_svc::digest::Digest;
use testbed::{FaultProxy, Postgres, eventually};

use super::{app_with, primary, url};
use crate::app::{App, Reply};

const KEY: &str = "of all the ring bearers";

/// Memory alone would give a deleted message back for as long as the test runs.
const SETTINGS: [(&str, &str); 2] = [("ADMIN_KEY", KEY), ("CACHE_MAX_AGE", "1h")];

/// An answer of `app`. Where it says that it has none now, on a machine that is slow or behind a database
/// that has just come back, it is asked again when it says, as every caller does.
async fn answered(app: &App, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
    eventually("an answer but 503", Duration::from_secs(60), async || {
        let reply = app.call(method, path, headers, body).await;
        if reply.status != 503 {
            return Ok(reply);
        }
        let seconds = reply.header("retry-after").parse().unwrap();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Err(format!("{reply:?}"))
    })
    .await
    .unwrap()
}

/// Keeps a message.
async fn keep(app: &App, message: &str) -> Digest {
    let kept = answered(
        app,
        "POST",
        "/messages",
        &["content-type: text/plain"],
        message,
    )
    .await;
    assert_eq!(kept.status, 200, "{kept:?}");
    Digest::of(message.as_bytes())
}

async fn delete(app: &App, digest: &Digest) {
    let (path, auth) = (
        format!("/messages/{digest}"),
        format!("authorization: Bearer {KEY}"),
    );
    let deleted = answered(app, "DELETE", &path, &[&auth], "").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
}

/// Until `app` gives the message back from memory.
async fn remember(app: &App, digest: &Digest) {
    for _ in 0..2 {
        let found = answered(app, "GET", &format!("/messages/{digest}"), &[], "").await;
        assert_eq!(found.status, 200, "{found:?}");
    }
}

async fn forgotten(app: &App, digest: &Digest, within: Duration) {
    eventually("the deletion to be seen", within, async || {
        let found = app.get(&format!("/messages/{digest}")).await;
        (found.status == 410).then_some(()).ok_or(found.status)
    })
    .await
    .unwrap();
}

/// Until the replicas of the service hold a connection on which they are told.
async fn listening(primary: &Postgres, count: usize) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%deletions' \
         AND (query LIKE 'LISTEN%' OR query = 'SELECT 1')";
    eventually(
        "the replicas to listen",
        Duration::from_secs(30),
        async || {
            let now = primary.sql(sql).await?;
            anyhow::ensure!(now == count.to_string(), "{now}");
            Ok(())
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_deletion_at_one_replica_is_seen_at_the_other_at_once_also_while_the_database_replica_lags()
 {
    let primary = primary().await;
    let replica = primary.replica().await.unwrap();
    let shards = format!("{},{}", url(&primary), url(&replica));
    let (here, there) = (
        app_with(&shards, &SETTINGS).await,
        app_with(&shards, &SETTINGS).await,
    );
    listening(&primary, 2).await;
    let digest = keep(&here, "foo").await;
    remember(&there, &digest).await;
    replica.sql("SELECT pg_wal_replay_pause()").await.unwrap();
    delete(&here, &digest).await;
    forgotten(&there, &digest, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_was_deleted_while_a_replica_could_not_hear_it_is_forgotten_when_it_hears_again() {
    let primary = primary().await;
    let direct = format!("127.0.0.1:{}", primary.port());
    let proxy = FaultProxy::start(&format!("http://{direct}"))
        .await
        .unwrap();
    let behind = url(&primary).replace(&direct, &proxy.address().to_string());
    let (here, there) = (
        app_with(&url(&primary), &SETTINGS).await,
        app_with(&behind, &SETTINGS).await,
    );
    listening(&primary, 2).await;
    let digest = keep(&here, "foo").await;
    remember(&there, &digest).await;
    proxy.silent().await.unwrap();
    delete(&here, &digest).await;
    proxy.pass().await.unwrap();
    forgotten(&there, &digest, Duration::from_secs(30)).await;

    // A server that went away and came back is heard again.
    let digest = keep(&here, "bar").await;
    remember(&there, &digest).await;
    primary.restart().await.unwrap();
    listening(&primary, 2).await;
    let digest = keep(&here, "baz").await;
    remember(&there, &digest).await;
    delete(&here, &digest).await;
    forgotten(&there, &digest, Duration::from_secs(5)).await;
}
