//! `POST /v1/locks/{key}/acquire`

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::TestApp;

#[tokio::test]
async fn a_free_lock_is_granted_with_all_that_its_holder_needs() {
    let app = TestApp::start().await;
    let wish = json!({
        "holder": "me",
        "ttl_ms": 1500,
        "wait_ms": 0,
        "request_id": "my.request-1_A",
        "metadata": { "team": "a" },
    });
    let answer = app.acquire("jobs", wish).await;
    assert_eq!(answer.status, 201);
    let mut body = answer.body;
    let take = |body: &mut Value, name: &str| body.as_object_mut().unwrap().remove(name).unwrap();
    let lease = take(&mut body, "lease_id");
    assert!(lease.as_str().unwrap().parse::<i64>().unwrap() > 0);
    let token = take(&mut body, "fencing_token");
    assert!(token.as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(!take(&mut body, "token_epoch").as_str().unwrap().is_empty());
    assert!(take(&mut body, "elapsed_ms").as_u64().unwrap() < 1000);
    let remaining = take(&mut body, "remaining_ms").as_u64().unwrap();
    assert!((1500..=2000).contains(&remaining), "{remaining}");
    assert_eq!(
        body,
        json!({
            "key": "jobs",
            "request_id": "my.request-1_A",
            "holder": "me",
            "mode": "exclusive",
            "ttl_ms": 2000,
        })
    );
}

#[tokio::test]
async fn a_request_without_id_gets_one_to_end_it_by() {
    let app = TestApp::start().await;
    let first = app.holds("jobs", "me").await;
    let answer = app
        .release("jobs", json!({ "request_id": first["request_id"] }))
        .await;
    assert_eq!(answer.body, json!({ "released": true }));
}

#[tokio::test]
async fn a_second_holder_is_told_who_holds_the_lock() {
    let app = TestApp::start().await;
    app.holds("jobs", "first").await;
    let answer = app
        .acquire("jobs", json!({ "holder": "second", "ttl_ms": 60_000 }))
        .await;
    assert_eq!(answer.status, 409);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(answer.body["code"], "lock-held");
    assert_eq!(answer.body["retryable"], true);
    assert_eq!(answer.body["holder"], "first");
    assert_eq!(answer.body["queue_length"], 0);
    assert!(answer.body["held_ms"].as_u64().unwrap() < 10_000);
    let remaining = answer.body["remaining_ms"].as_u64().unwrap();
    assert!((50_000..=60_000).contains(&remaining), "{remaining}");
    let told = answer.body.to_string();
    assert!(
        !told.contains("lease_id"),
        "the lease is the holder's: {told}"
    );
}

#[tokio::test]
async fn every_grant_has_a_larger_token() {
    let app = TestApp::start().await;
    let mut last = 0;
    for _ in 0..5 {
        let tenure = app.holds("jobs", "me").await;
        let token: u64 = tenure["fencing_token"].as_str().unwrap().parse().unwrap();
        assert!(token > last, "{token} after {last}");
        last = token;
        app.gives_back("jobs", &tenure).await;
    }
}

#[tokio::test]
async fn a_request_id_is_one_tenure() {
    let app = TestApp::start().await;
    let wish = json!({ "holder": "me", "ttl_ms": 60_000, "request_id": "q" });
    let first = app.acquire("jobs", wish.clone()).await;
    assert_eq!(first.status, 201);

    let again = app.acquire("jobs", wish.clone()).await;
    assert_eq!(again.status, 409);
    assert_eq!(again.body["code"], "request-known");

    app.gives_back("jobs", &first.body).await;
    let after = app.acquire("jobs", wish.clone()).await;
    assert_eq!(after.status, 410);
    assert_eq!(after.body["code"], "request-ended");

    let elsewhere = app.acquire("other", wish).await;
    assert_eq!(elsewhere.status, 201, "an id belongs to one lock");
}

#[tokio::test]
async fn a_lock_nobody_keeps_alive_is_free_after_its_ttl() {
    let app = TestApp::start().await;
    let asked = Instant::now();
    app.acquire("jobs", json!({ "holder": "first", "ttl_ms": 2000 }))
        .await;
    let second = app
        .acquire(
            "jobs",
            json!({ "holder": "second", "ttl_ms": 2000, "wait_ms": 20_000 }),
        )
        .await;
    assert_eq!(second.status, 201);
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(1990), "{took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let elapsed = second.body["elapsed_ms"].as_u64().unwrap();
    assert!(elapsed >= 1000, "the wait is part of it: {elapsed}");
    assert!(second.body["remaining_ms"].as_u64().unwrap() > 1500);
}

#[tokio::test]
async fn the_limits_are_settings_and_refusals_name_them() {
    let app = TestApp::with(&[
        ("MAX_TTL", "10s"),
        ("MAX_WAIT", "1s"),
        ("TOKEN_EPOCH", "two"),
    ])
    .await;
    let answer = app
        .acquire("jobs", json!({ "holder": "me", "ttl_ms": 10_001 }))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.fields()),
        (422, vec!["ttl_ms"])
    );
    assert_eq!(
        answer.body["detail"],
        "ttl_ms: must be a whole number from 1 to 10000"
    );
    let answer = app
        .acquire(
            "jobs",
            json!({ "holder": "me", "ttl_ms": 10_000, "wait_ms": 1001 }),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.fields()),
        (422, vec!["wait_ms"])
    );
    let answer = app
        .acquire(
            "jobs",
            json!({ "holder": "me", "ttl_ms": 10_000, "wait_ms": 1000 }),
        )
        .await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.body["token_epoch"], "two");
}

/// A trace that a caller began goes on here, and a refusal names it.
#[tokio::test]
async fn a_refusal_carries_the_callers_trace() {
    let app = TestApp::start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let answer = app
        .call(
            "POST",
            "/v1/locks/jobs/acquire",
            &format!(
                "content-type: application/json\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n"
            ),
            "{}",
        )
        .await;
    assert_eq!(answer.status, 422);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["trace_id"], trace);
    assert_eq!(body["instance"], "/v1/locks/jobs/acquire");
}
