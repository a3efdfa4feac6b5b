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

#[tokio::test]
async fn who_asks_for_no_expiry_gets_the_one_that_is_set_for_all() {
    let refused = testbed::Service::new("message-hash-svc")
        .env("MESSAGE_HASH_DEFAULT_TTL", "2h")
        .env("MESSAGE_HASH_MAX_TTL", "1h")
        .start()
        .await;
    let refused = format!("{:#}", refused.err().unwrap());
    assert!(
        refused.contains("at most MESSAGE_HASH_MAX_TTL"),
        "{refused}"
    );

    let app = App::start_with(&[("MAX_TTL", "1h"), ("DEFAULT_TTL", "10m")]).await;
    app.call("POST", "/messages", &[TEXT], "a").await;
    let (b, c) = (Digest::of(b"b"), Digest::of(b"c"));
    app.call("PUT", &format!("/messages/{b}"), &[TEXT], "b")
        .await;
    let batch = r#"{"put":[{"message":"c"},{"message":"d","ttl_ms":3600000}]}"#;
    let json = "content-type: application/json";
    app.call("POST", "/messages:batch", &[json], batch).await;
    let within = async |digest: Digest| {
        let reply = app
            .call("GET", &format!("/messages/{digest}"), &[], "")
            .await;
        let cache = reply.header("cache-control").to_owned();
        let age = cache.strip_prefix("public, max-age=").unwrap();
        age.parse::<u64>().unwrap()
    };
    for digest in [Digest::of(b"a"), b, c] {
        assert!((500..=600).contains(&within(digest).await), "{digest}");
    }
    assert!((3500..=3600).contains(&within(Digest::of(b"d")).await));
}
