//! `Idempotency-Key`.

use crate::app::{TestApp, wish};

#[tokio::test]
async fn the_same_key_gives_the_same_hostname_and_says_so() {
    let app = TestApp::start().await;
    let body = wish("splunk", "web", "dev");
    let first = app.allocate_with_key(&body, "one").await;
    assert_eq!(
        (first.status.as_u16(), first.header("idempotent-replay")),
        (201, None)
    );
    for _ in 0..2 {
        let again = app.allocate_with_key(&body, "one").await;
        assert_eq!(
            (again.status.as_u16(), again.header("idempotent-replay")),
            (200, Some("true"))
        );
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("location"), first.header("location"));
    }
    assert_eq!(app.allocate_with_key(&body, "two").await.counter(), 2);
}

#[tokio::test]
async fn a_key_is_remembered_across_a_restart() {
    let app = TestApp::start().await;
    let body = wish("splunk", "web", "dev");
    let first = app.allocate_with_key(&body, "one").await;
    app.service.kill().unwrap();
    app.service.restart().await.unwrap();
    assert_eq!(app.allocate_with_key(&body, "one").await.body, first.body);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_whatever_is_other() {
    let app = TestApp::start().await;
    let body = wish("splunk", "web", "dev");
    app.allocate_with_key(&body, "one").await;
    let mut reason = body.clone();
    reason["reason"] = "another".into();
    for other in [
        wish("splunk", "web", "prod"),
        wish("other", "web", "dev"),
        reason,
    ] {
        let refused = app.allocate_with_key(&other, "one").await;
        refused.is_problem(422, "idempotency-key-reused");
    }
    assert_eq!(app.listed("").await, ["splunkweb1dev"]);
    assert_eq!(
        app.allocate(&wish("splunk", "web", "prod")).await.counter(),
        1
    );
}

#[tokio::test]
async fn spaces_and_the_order_of_fields_make_no_other_body() {
    let app = TestApp::start().await;
    let send = |body: &'static str| {
        let request = app.client.post(app.url("/v1/hostnames")).body(body);
        let request = request
            .header("content-type", "application/json")
            .header("idempotency-key", "one");
        async { request.send().await.unwrap().status() }
    };
    assert_eq!(
        send(r#"{"application":"a","role":"b","environment":"c"}"#).await,
        201
    );
    assert_eq!(
        send(r#"{ "environment": "c", "role": "b", "application": "a" }"#).await,
        200
    );
}

#[tokio::test]
async fn many_calls_at_once_with_one_key_share_one_hostname() {
    let app = TestApp::start().await;
    let body = wish("splunk", "web", "dev");
    let calls = (0..50).map(|_| app.allocate_with_key(&body, "one"));
    let answers = futures_util::future::join_all(calls).await;
    assert!(
        answers.iter().all(|answer| answer.counter() == 1),
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 201).count(),
        1
    );
    assert_eq!(app.listed("").await, ["splunkweb1dev"]);
}

#[tokio::test]
async fn a_key_of_255_visible_characters_is_taken_and_another_one_refused() {
    let app = TestApp::start().await;
    let body = wish("splunk", "web", "dev");
    assert_eq!(
        app.allocate_with_key(&body, &"k".repeat(255))
            .await
            .counter(),
        1
    );
    for key in ["", "a b", "k\u{e9}", &"k".repeat(256)] {
        let refused = app.allocate_with_key(&body, key).await;
        assert_eq!(refused.fields(), ["Idempotency-Key"], "{key:?}");
    }
    let request = app.client.post(app.url("/v1/hostnames")).json(&body);
    let twice = request
        .header("Idempotency-Key", "a")
        .header("Idempotency-Key", "b");
    assert_eq!(twice.send().await.unwrap().status(), 422);
    assert_eq!(app.listed("").await, ["splunkweb1dev"]);
}

#[tokio::test]
async fn a_request_that_is_refused_registers_no_prefix() {
    let app = TestApp::start().await;
    app.allocate_with_key(&wish("splunk", "web", "dev"), "k")
        .await;
    let refused = app.allocate_with_key(&wish("ab", "cd", "dev"), "k").await;
    assert_eq!(refused.status, 422);
    // The same letters, cut elsewhere, are still to be had.
    assert_eq!(
        app.allocate(&wish("abc", "d", "dev")).await.hostname(),
        "abcd1dev"
    );
}
