//! `GET /v1/locks/{key}`

use std::{sync::Arc, time::Duration};

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_free_lock_has_neither_holders_nor_waiters() {
    let app = TestApp::start().await;
    let free = json!({ "key": "a/b", "holders": [], "waiters": [] });
    assert_eq!(app.inspect("a%2Fb").await, free);
    let tenure = app.holds("a%2Fb", "me").await;
    app.gives_back("a%2Fb", &tenure).await;
    assert_eq!(app.inspect("a%2Fb").await, free);
}

#[tokio::test]
async fn everybody_sees_who_holds_and_who_waits_but_no_lease() {
    let app = Arc::new(TestApp::start().await);
    let wish = json!({ "holder": "me", "ttl_ms": 60_000, "metadata": { "team": "ä" } });
    let tenure = app.acquire("jobs", wish).await.body;
    let waiting = Arc::clone(&app);
    let waiter = tokio::spawn(async move {
        let wish = json!({ "holder": "you", "ttl_ms": 60_000, "wait_ms": 60_000 });
        waiting.acquire("jobs", wish).await
    });
    app.queue_is("jobs", 1, Duration::from_secs(5)).await;

    let view = app.inspect("jobs").await;
    let holder = &view["holders"][0];
    assert_eq!(holder["holder"], "me");
    assert_eq!(holder["mode"], "exclusive");
    assert_eq!(holder["fencing_token"], tenure["fencing_token"]);
    assert_eq!(holder["token_epoch"], tenure["token_epoch"]);
    assert_eq!(holder["ttl_ms"], 60_000);
    assert!(holder["remaining_ms"].as_u64().unwrap() > 50_000);
    assert!(holder["held_ms"].as_u64().unwrap() < 10_000);
    assert_eq!(holder["metadata"], json!({ "team": "ä" }));
    assert_eq!(view["waiters"][0]["holder"], "you");
    assert!(view["waiters"][0]["waiting_ms"].as_u64().unwrap() < 10_000);
    assert!(
        !view
            .to_string()
            .contains(tenure["lease_id"].as_str().unwrap())
    );

    app.gives_back("jobs", &tenure).await;
    assert_eq!(waiter.await.unwrap().status, 201);
}
