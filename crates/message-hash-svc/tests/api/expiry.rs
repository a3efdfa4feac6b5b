//! Messages that are kept for a while.

use std::time::Duration;

use message_hash_svc::digest::Digest;
use testbed::eventually;

use crate::app::App;

const TEXT: &str = "content-type: text/plain";

#[tokio::test]
async fn an_expired_message_is_not_given_back_and_leaves_the_store() {
    let app = App::start_with(&[("MAX_TTL", "1h")]).await;
    let path = format!("/messages/{}", Digest::of(b"foo"));
    let posted = app
        .call("POST", "/messages?ttl_ms=700", &[TEXT], "foo")
        .await;
    assert_eq!(posted.status, 200);
    let found = app.call("GET", &path, &[], "").await;
    assert_eq!(
        (found.status, found.header("cache-control")),
        (200, "public, max-age=0")
    );
    eventually(
        "the message to expire",
        Duration::from_secs(5),
        async || {
            let reply = app.call("GET", &path, &[], "").await;
            (reply.status == 410 && reply.json()["err_msg"] == "Message has expired")
                .then_some(())
                .ok_or(reply.status)
        },
    )
    .await
    .unwrap();
    eventually(
        "the message to be removed",
        Duration::from_secs(20),
        async || {
            let reply = app.call("GET", &path, &[], "").await;
            (reply.status == 404).then_some(()).ok_or(reply.status)
        },
    )
    .await
    .unwrap();
    eventually(
        "the removal to be counted",
        Duration::from_secs(5),
        async || {
            let count = app.metric("message_hash_expired_messages_total").await;
            (count == 1.0).then_some(()).ok_or(count)
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn posting_again_extends_and_never_shortens() {
    let app = App::start_with(&[("MAX_TTL", "1h"), ("ANSWER_CREATED", "true")]).await;
    let age = async |message: &str| {
        let path = format!("/messages/{}", Digest::of(message.as_bytes()));
        let reply = app.call("GET", &path, &[], "").await;
        let cache = reply.header("cache-control").to_owned();
        let age = cache.strip_prefix("public, max-age=").unwrap();
        age.parse::<u64>().unwrap()
    };
    let post = async |query: &str, message: &str| {
        let path = format!("/messages{query}");
        app.call("POST", &path, &[TEXT], message).await.status
    };
    assert_eq!(post("?ttl_ms=60000", "foo").await, 201);
    assert!((55..=60).contains(&age("foo").await));
    assert_eq!(post("?ttl_ms=1000000", "foo").await, 200);
    assert!((900..=1000).contains(&age("foo").await));
    assert_eq!(post("?ttl_ms=1", "foo").await, 200);
    assert!((900..=1000).contains(&age("foo").await));
    assert_eq!(post("", "foo").await, 200);
    assert_eq!(age("foo").await, 31_536_000);
    assert_eq!(post("?ttl_ms=1", "foo").await, 200);
    assert_eq!(age("foo").await, 31_536_000);
}

#[tokio::test]
async fn a_time_to_live_that_is_not_allowed_is_refused() {
    let app = App::start_with(&[("MAX_TTL", "1h")]).await;
    for ttl in ["0", "-1", "x", "", "3600001", "1.5", "99999999999999999999"] {
        let path = format!("/messages?ttl_ms={ttl}");
        let reply = app.call("POST", &path, &[TEXT], "foo").await;
        assert_eq!(reply.status, 422, "{ttl}");
        let said = reply.json()["err_msg"].as_str().unwrap().to_owned();
        assert!(
            said.starts_with("ttl_ms: ") && said.contains("3600000"),
            "{said}"
        );
    }
    let off = App::start().await;
    let reply = off
        .call("POST", "/messages?ttl_ms=1000", &[TEXT], "foo")
        .await;
    assert_eq!(reply.status, 422);
    assert!(
        reply.json()["err_msg"]
            .as_str()
            .unwrap()
            .contains("MESSAGE_HASH_MAX_TTL")
    );
}
