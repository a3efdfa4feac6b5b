//! An administrator takes a message away.

use std::time::Duration;

use message_hash_svc::digest::Digest;
use testbed::eventually;

use crate::app::{App, not_found};

const KEY: &str = "authorization: Bearer of all the ring bearers";

async fn app() -> App {
    App::start_with(&[("ADMIN_KEY", "of all the ring bearers")]).await
}

#[tokio::test]
async fn a_deleted_message_is_gone_at_once_also_from_memory() {
    let app = app().await;
    let digest = app.keep("foo").await;
    let path = format!("/messages/{digest}");
    let found = app.call("GET", &path, &[], "").await;
    assert_eq!(
        (found.status, found.header("cache-control")),
        (200, "no-cache")
    );

    assert_eq!(app.call("DELETE", &path, &[KEY], "").await.status, 204);
    let gone = app.call("GET", &path, &[], "").await;
    assert_eq!(gone.status, 410);
    assert_eq!(
        gone.json(),
        serde_json::json!({"err_msg": "Message was deleted"})
    );
    assert_eq!(app.call("DELETE", &path, &[KEY], "").await.status, 204);

    let deleted = |line: &str| line.contains("deleted") && line.contains(&digest.to_string());
    eventually(
        "the deletion to be logged",
        Duration::from_secs(5),
        async || {
            let text = app.service.logs().text();
            text.lines().any(deleted).then_some(()).ok_or(text)
        },
    )
    .await
    .unwrap();
    assert_eq!(app.metric("message_hash_deletions_total").await, 2.0);

    app.keep("foo").await;
    assert_eq!(app.call("GET", &path, &[], "").await.status, 200);
}

#[tokio::test]
async fn a_blocked_message_is_not_kept_again_also_after_a_restart() {
    let app = app().await;
    let digest = app.keep("foo").await;
    let unseen = Digest::of(b"never posted");
    for digest in [digest, unseen] {
        let path = format!("/messages/{digest}?block=true");
        assert_eq!(app.call("DELETE", &path, &[KEY], "").await.status, 204);
    }
    app.service.restart().await.unwrap();
    for message in ["foo", "never posted"] {
        let body = serde_json::json!({ "message": message }).to_string();
        let answer = app.post("application/json", body).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        let again = format!("/messages/{}", Digest::of(message.as_bytes()));
        // A deletion without a word about it does not lift the block.
        assert_eq!(app.call("DELETE", &again, &[KEY], "").await.status, 204);
        let octets = "content-type: application/octet-stream";
        let put = app.call("PUT", &again, &[octets], message).await;
        assert_eq!(put.problem(), (403, "message-blocked".to_owned()));
    }
}

#[tokio::test]
async fn only_the_administrator_deletes() {
    let app = app().await;
    let digest = app.keep("foo").await;
    let path = format!("/messages/{digest}");
    for headers in [
        &[][..],
        &["authorization: Bearer x"],
        &["authorization: of all the ring bearers"],
    ] {
        let refused = app.call("DELETE", &path, headers, "").await;
        assert_eq!(refused.problem(), (401, "unauthorized".to_owned()));
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
    let unknown = app
        .call("DELETE", &format!("{path}?blok=true"), &[KEY], "")
        .await;
    assert_eq!(unknown.status, 422);
    let absent = format!("/messages/{}", "a".repeat(64));
    let unclear = app
        .call("DELETE", &format!("{path}?block=1"), &[KEY], "")
        .await;
    assert_eq!(unclear.status, 422);
    assert_eq!(unclear.json()["errors"][0]["field"], "block");
    let absent = app.call("DELETE", &absent, &[KEY], "").await;
    assert_eq!(absent.problem(), (404, "message-not-found".to_owned()));
    assert_eq!(app.get(&path).await.status, 200);

    let off = App::start().await;
    let digest = off.keep("foo").await;
    let refused = off
        .call("DELETE", &format!("/messages/{digest}"), &[KEY], "")
        .await;
    assert_eq!(refused.problem(), (403, "admin-off".to_owned()));
    assert_ne!(off.get(&format!("/messages/{digest}")).await, not_found());
}

#[tokio::test]
async fn where_it_is_not_to_be_told_what_is_gone_was_never_there() {
    let key = "of all the ring bearers";
    let settings = [("ADMIN_KEY", key), ("ANSWER_GONE", "false")];
    let app = App::start_with(&settings).await;
    let digest = app.keep("foo").await;
    let path = format!("/messages/{digest}");
    assert_eq!(app.call("DELETE", &path, &[KEY], "").await.status, 204);
    assert_eq!(app.get(&path).await, not_found());
    let batch = format!(r#"{{"get":["{digest}"]}}"#);
    let content = "content-type: application/json";
    let batch = app.call("POST", "/messages:batch", &[content], batch).await;
    assert_eq!(batch.json()["get"][0]["outcome"], "missing");
}
