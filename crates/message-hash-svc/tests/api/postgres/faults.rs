//! PostgreSQL away, behind, silent, or busy.

use std::time::{Duration, Instant};

use message_hash_svc::digest::Digest;
use testbed::{FaultProxy, eventually};

use super::{MESSAGES, app, app_with, expect, follows, primary, url};
use crate::app::{Answer, App};

fn absent(text: &str) -> String {
    format!("/messages/{}", Digest::of(text.as_bytes()))
}

fn assert_refused(answer: &Answer) {
    let told = (answer.status, answer.retry_after.as_deref());
    assert_eq!(told, (503, Some("1")), "{answer:?}");
}

async fn post(app: &App, text: &str) -> Answer {
    let body = serde_json::json!({ "message": text }).to_string();
    app.post("application/json", body).await
}

#[tokio::test]
async fn a_replica_that_lags_hides_nothing_and_one_without_its_primary_gives_what_it_has() {
    let primary = primary().await;
    let replica = primary.replica().await.unwrap();
    let shards = format!("{},{}", url(&primary), url(&replica));
    let (here, there) = (
        app_with(&shards, &[("CACHE_BYTES", "0")]).await,
        app(&shards).await,
    );
    let old = here.keep("old").await;
    follows(&replica, MESSAGES, "1").await;

    replica.sql("SELECT pg_wal_replay_pause()").await.unwrap();
    for number in 0..50 {
        let text = format!("new {number}");
        let digest = here.keep(&text).await;
        expect(&there, &digest, &text).await;
        expect(&here, &digest, &text).await;
    }

    primary.crash().await.unwrap();
    let count = "message_hash_lookups_total{outcome=\"cached\"}";
    for _ in 0..5 {
        expect(&here, &old, "old").await;
    }
    assert_eq!(here.metric(count).await, 0.0);
    // Nobody may say that there is none, nor that it was kept.
    for round in 0..3 {
        let started = Instant::now();
        assert_refused(&here.get(&absent("never posted")).await);
        assert_refused(&post(&here, "while it is down").await);
        let took = started.elapsed();
        assert!(round == 0 || took < Duration::from_secs(3), "{took:?}");
    }
    primary.restart().await.unwrap();
    eventually(
        "the service to go on",
        Duration::from_secs(20),
        async || {
            // Looking up has connections of its own, which find out for themselves.
            let posted = post(&here, "after it came back").await.status;
            let absent = here.get(&absent("never posted")).await.status;
            let told = (posted, absent);
            (told == (200, 404))
                .then_some(())
                .ok_or(format!("{told:?}"))
        },
    )
    .await
    .unwrap();
    expect(&here, &old, "old").await;
}

#[tokio::test]
async fn who_shows_where_a_write_stands_sees_it_from_a_replica_that_came_as_far() {
    let primary = primary().await;
    let replica = primary.replica().await.unwrap();
    let shards = format!("{},{}", url(&primary), url(&replica));
    let key = "of all the ring bearers";
    let settings = [("ADMIN_KEY", key), ("CACHE_MAX_AGE", "1h")];
    let (here, there) = (
        app_with(&shards, &settings).await,
        app_with(&shards, &settings).await,
    );
    let octets = "content-type: application/octet-stream";
    let posted = here.call("POST", "/messages", &[octets], "foo").await;
    let token = posted.header("consistency-token").to_owned();
    assert!(token.starts_with("main.1."), "{token}");
    let path = absent("foo");
    let written = primary
        .sql("SELECT pg_current_wal_insert_lsn()")
        .await
        .unwrap();
    let has_come = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
    follows(&replica, &has_come, "t").await;
    // Now it lies in memory, and the replica stands still, while it is deleted elsewhere.
    assert_eq!(there.get(&path).await.status, 200);
    replica.sql("SELECT pg_wal_replay_pause()").await.unwrap();
    let auth = format!("authorization: Bearer {key}");
    let deleted = here.call("DELETE", &path, &[&auth], "").await;
    assert_eq!(deleted.status, 204);
    let deletion = format!("consistency-token: {}", deleted.header("consistency-token"));
    assert_eq!(there.call("GET", &path, &[&deletion], "").await.status, 410);
    assert_eq!(here.call("GET", &path, &[], "").await.status, 410);

    // A replica that has come as far says all, also that there is nothing, without its primary.
    primary.crash().await.unwrap();
    let before = format!("consistency-token: {token}");
    let never = absent("never posted");
    eventually(
        "the replica to be asked",
        Duration::from_secs(10),
        async || {
            let answer = there.call("GET", &never, &[&before], "").await;
            (answer.status == 404).then_some(()).ok_or(answer.status)
        },
    )
    .await
    .unwrap();
    assert_eq!(
        there.call("GET", &never, &[&deletion], "").await.status,
        503
    );
    assert_eq!(there.call("GET", &never, &[], "").await.status, 503);
    let nonsense = there
        .call("GET", &never, &["consistency-token: x"], "")
        .await;
    assert_eq!(nonsense.status, 400);
}

#[tokio::test]
async fn a_silent_primary_is_waited_for_once_and_then_refused_at_once() {
    let primary = primary().await;
    let proxy = FaultProxy::start(&format!("http://127.0.0.1:{}", primary.port()))
        .await
        .unwrap();
    let direct = format!("127.0.0.1:{}", primary.port());
    let shards = url(&primary).replace(&direct, &proxy.address().to_string());
    let app = app(&shards).await;
    let digest = app.keep("foo").await;
    proxy.silent().await.unwrap();
    let started = Instant::now();
    assert_refused(&app.get(&absent("bar")).await);
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    let started = Instant::now();
    assert_refused(&app.get(&absent("bar")).await);
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    proxy.pass().await.unwrap();
    eventually(
        "the service to go on",
        Duration::from_secs(20),
        async || {
            let answer = app.get(&format!("/messages/{digest}")).await;
            (answer.status == 200).then_some(()).ok_or(answer.body)
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn when_every_connection_is_taken_callers_are_told_to_come_again() {
    let primary = primary().await;
    let app = app_with(&url(&primary), &[("POSTGRES_CONNECTIONS", "2")]).await;
    app.keep("foo").await;
    let lock = "BEGIN; LOCK TABLE message_hash.message IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT";
    let locked = primary.sql(lock);
    let calls = async {
        let is_locked = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
             AND relation = 'message_hash.message'::regclass";
        eventually("the lock", Duration::from_secs(20), async || {
            let held = primary.sql(is_locked).await?;
            anyhow::ensure!(held != "0", "not yet");
            Ok(())
        })
        .await
        .unwrap();
        let calls = (0..30).map(|number| {
            let app = &app;
            async move {
                let started = Instant::now();
                let answer = post(app, &format!("{number}")).await;
                (answer, started.elapsed())
            }
        });
        futures_util::future::join_all(calls).await
    };
    let (locked, answers) = tokio::join!(locked, calls);
    locked.unwrap();
    assert!(answers.iter().any(|(answer, _)| answer.status == 503));
    for (answer, took) in &answers {
        assert!(*took < Duration::from_secs(8), "{took:?}");
        if answer.status != 200 {
            assert_refused(answer);
        }
    }
    eventually(
        "the service to go on",
        Duration::from_secs(20),
        async || {
            let answer = post(&app, "after the lock").await;
            (answer.status == 200).then_some(()).ok_or(answer.body)
        },
    )
    .await
    .unwrap();
}

/// Texts whose digests lie in the first partition, or in any other.
fn texts(in_first: bool) -> impl Iterator<Item = String> {
    let all = (0..).map(|number: u32| format!("{number}"));
    all.filter(move |text| (Digest::of(text.as_bytes()).as_bytes()[0] < 0x10) == in_first)
}

#[tokio::test]
async fn look_ups_that_hang_keep_no_post_from_the_primary() {
    let primary = primary().await;
    let app = app_with(&url(&primary), &[("POSTGRES_CONNECTIONS", "2")]).await;
    app.keep("foo").await;
    let lock = "BEGIN; LOCK TABLE message_hash.message_0 IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(6); COMMIT";
    let locked = primary.sql(lock);
    let calls = async {
        let waiting = async |count: &str| {
            let waiting = primary
                .sql("SELECT count(*) FROM pg_locks WHERE NOT granted")
                .await?;
            anyhow::ensure!(waiting == count, "{waiting}");
            Ok(())
        };
        let held = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' \
             AND relation = 'message_hash.message_0'::regclass";
        eventually("the lock", Duration::from_secs(20), async || {
            let held = primary.sql(held).await?;
            anyhow::ensure!(held == "1", "{held}");
            Ok(())
        })
        .await
        .unwrap();
        let hanging = texts(true).take(20).map(|text| {
            let (caller, path) = (app.caller(), absent(&text));
            tokio::spawn(async move { caller.get(&path).await.unwrap().status })
        });
        let hanging: Vec<_> = hanging.collect();
        eventually("look-ups to hang", Duration::from_secs(20), async || {
            waiting("2").await
        })
        .await
        .unwrap();
        for text in texts(false).take(20) {
            let answer = post(&app, &text).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        for status in hanging {
            assert_eq!(status.await.unwrap(), 503);
        }
    };
    let (locked, ()) = tokio::join!(locked, calls);
    locked.unwrap();
}
