//! Keys on their way through the router, as they stand on the wire.

use serde_json::{Value, json};

use crate::app::{Raw, TestApp};

async fn acquire(app: &TestApp, segment: &str) -> Raw {
    let body = json!({ "holder": "me", "ttl_ms": 60_000 }).to_string();
    let target = format!("/v1/locks/{segment}/acquire");
    app.call("POST", &target, "content-type: application/json\r\n", body)
        .await
}

#[tokio::test]
async fn every_legal_key_is_one_lock_of_its_own() {
    let app = TestApp::start().await;
    let long = "k".repeat(1024);
    for (segment, key) in [
        ("a", "a"),
        ("A", "A"),
        ("a%2Fb", "a/b"),
        ("a%2F", "a/"),
        ("%2F", "/"),
        ("a%2Facquire", "a/acquire"),
        ("acquire", "acquire"),
        ("..", ".."),
        (".", "."),
        ("%2E%2E%2Fx", "../x"),
        ("%2561", "%61"),
        ("%25", "%"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("a%3Fb%23c", "a?b#c"),
        ("%C3%A4", "ä"),
        ("a:b;c,d=e@f", "a:b;c,d=e@f"),
        ("{key}", "{key}"),
        (&long, &long),
    ] {
        let answer = acquire(&app, segment).await;
        assert_eq!(answer.status, 201, "{segment}: {answer:?}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["key"], key);
        assert_eq!(acquire(&app, segment).await.status, 409, "{segment}");
        let view = app
            .call("GET", &format!("/v1/locks/{segment}"), "", "")
            .await;
        let view: Value = serde_json::from_str(&view.body).unwrap();
        assert_eq!(view["key"], key);
        assert_eq!(view["holders"][0]["fencing_token"], body["fencing_token"]);
    }
}

/// One key, however it is written.
#[tokio::test]
async fn spellings_of_one_key_are_one_lock() {
    let app = TestApp::start().await;
    for spellings in [
        ["a%2fb", "a%2Fb"],
        ["%61bc", "abc"],
        ["%2e%2e", ".."],
        ["x%2By", "x+y"],
        ["%c3%a4", "%C3%A4"],
    ] {
        let [first, second] = spellings;
        assert_eq!(acquire(&app, first).await.status, 201, "{first}");
        assert_eq!(acquire(&app, second).await.status, 409, "{second}");
    }
}

#[tokio::test]
async fn what_is_no_key_is_refused_by_every_call() {
    let app = TestApp::start().await;
    let long = "k".repeat(1025);
    for segment in [
        "", "%00", "a%0Ab", "%7F", "%FF", "%C3", "%", "%2", "%zz", &long,
    ] {
        for (method, target) in [
            ("POST", format!("/v1/locks/{segment}/acquire")),
            ("POST", format!("/v1/locks/{segment}/keepalive")),
            ("POST", format!("/v1/locks/{segment}/release")),
            ("POST", format!("/v1/locks/{segment}/verify")),
            ("GET", format!("/v1/locks/{segment}")),
            ("GET", format!("/v1/locks/{segment}/events")),
            ("DELETE", format!("/v1/locks/{segment}")),
        ] {
            let headers = "content-type: application/json\r\n";
            let answer = app.call(method, &target, headers, "{}").await;
            assert_eq!(answer.status, 422, "{method} {target}: {answer:?}");
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(body["errors"][0]["field"], "key", "{method} {target}");
        }
    }
}

#[tokio::test]
async fn a_slash_that_is_not_encoded_makes_another_path() {
    let app = TestApp::start().await;
    for target in [
        "/v1/locks/a/b/acquire",
        "/v1/locks/a/acquire/",
        "/v1/locks/",
        "/v1/locks/a/b",
        "/v1/locks:unlock",
        "/v1",
        "/v1/",
    ] {
        let answer = app
            .call("POST", target, "content-type: application/json\r\n", "{}")
            .await;
        let status = if target == "/v1/locks/" { 405 } else { 404 };
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
}

/// The name of a lock may travel in the body of any call instead.
#[tokio::test]
async fn a_key_in_the_body_names_the_same_lock() {
    let app = TestApp::start().await;
    for (segment, key) in [
        ("a%2Fb", "a/b"),
        ("%C3%A4", "ä"),
        ("%25", "%"),
        ("a%20b", "a b"),
    ] {
        let wish = json!({ "key": key, "holder": "me", "ttl_ms": 60_000 });
        let tenure = app.post("/v1/locks:acquire", wish.clone()).await;
        assert_eq!(tenure.status, 201, "{tenure:?}");
        assert_eq!(tenure.body["key"], key);
        assert_eq!(acquire(&app, segment).await.status, 409, "{segment}");
        let seen = app.post("/v1/locks:inspect", json!({ "key": key })).await;
        let holder = |lock: &Value| lock["holders"][0]["fencing_token"].clone();
        assert_eq!(holder(&seen.body), tenure.body["fencing_token"]);
        assert_eq!(holder(&app.inspect(segment).await), holder(&seen.body));
        let lease = json!({ "key": key, "lease_id": tenure.body["lease_id"] });
        let kept = app.post("/v1/locks:keepalive", lease.clone()).await;
        assert_eq!(kept.status, 200, "{kept:?}");
        let mut whole = lease;
        whole["fencing_token"] = tenure.body["fencing_token"].clone();
        let released = app.post("/v1/locks:release", whole).await;
        assert_eq!(released.body, json!({ "released": true }));
    }
    for (body, fields) in [
        (json!({}), vec!["key"]),
        (json!({ "key": "" }), vec!["key"]),
        (json!({ "key": "a\nb" }), vec!["key"]),
        (json!({ "key": "k".repeat(1025) }), vec!["key"]),
        (json!({ "key": 1, "other": 1 }), vec!["key", "other"]),
    ] {
        let answer = app.post("/v1/locks:inspect", body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.fields()),
            (422, fields),
            "{body}"
        );
    }
    let twice = json!({ "key": "a", "holder": "me", "ttl_ms": 60_000 });
    let answer = app.acquire("a", twice).await;
    assert_eq!(answer.fields(), ["key"], "{answer:?}");
}
