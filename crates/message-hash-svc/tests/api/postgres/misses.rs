//! Whoever asks for what is not there.

use std::time::Duration;

use message_hash_svc::digest::Digest;
use testbed::eventually;

use super::{MESSAGES, app_with, expect, follows, primary, url};
use crate::app::App;

/// Asks for so many messages that nobody posted; the statuses that were answered.
async fn flood(app: &App, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for number in 0..count {
        let digest = Digest::of(format!("never posted {number}").as_bytes());
        let answer = app.get(&format!("/messages/{digest}")).await;
        if answer.status == 429 {
            assert_eq!(answer.retry_after.as_deref(), Some("1"), "{answer:?}");
        }
        statuses.push(answer.status);
    }
    statuses
}

#[tokio::test]
async fn who_asks_too_often_for_what_is_not_there_is_answered_from_replicas_alone() {
    let primary = primary().await;
    let replica = primary.replica().await.unwrap();
    let shards = format!("{},{}", url(&primary), url(&replica));
    let settings = [("MISS_RATE", "2"), ("CACHE_BYTES", "0")];
    let app = app_with(&shards, &settings).await;
    let digest = app.keep("foo").await;
    follows(&replica, MESSAGES, "1").await;

    let statuses = flood(&app, 40).await;
    assert_eq!(statuses[..2], [404, 404]);
    assert!(
        statuses.iter().all(|status| [404, 429].contains(status)) && statuses.contains(&429),
        "{statuses:?}"
    );
    // What the replica has costs the primary nothing.
    expect(&app, &digest, "foo").await;
    let batch = format!(r#"{{"exists":["{}","{digest}"]}}"#, Digest::of(b"nor this"));
    let content = "content-type: application/json";
    flood(&app, 20).await;
    let refused = app.call("POST", "/messages:batch", &[content], batch).await;
    assert_eq!(refused.problem(), (429, "too-many-misses".to_owned()));
    eventually(
        "the caller to be let in again",
        Duration::from_secs(20),
        async || {
            let status = flood(&app, 1).await[0];
            (status == 404).then_some(()).ok_or(status)
        },
    )
    .await
    .unwrap();
}
