//! `POST /v1/locks/{key}/keepalive`

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep_until;

use crate::app::TestApp;

#[tokio::test]
async fn a_lock_kept_alive_outlives_its_ttl() {
    let app = TestApp::start().await;
    let started = Instant::now();
    let tenure = app
        .acquire("jobs", json!({ "holder": "me", "ttl_ms": 2000 }))
        .await
        .body;
    for second in 1..=4 {
        sleep_until((started + Duration::from_secs(second)).into()).await;
        let kept = app
            .keep_alive("jobs", json!({ "lease_id": tenure["lease_id"] }))
            .await;
        assert_eq!(kept.status, 200);
        assert_eq!(kept.body["lease_id"], tenure["lease_id"]);
        assert_eq!(kept.body["ttl_ms"], 2000);
        assert!(kept.body["remaining_ms"].as_u64().unwrap() > 1500);
    }
    let view = app.inspect("jobs").await;
    assert_eq!(view["holders"][0]["fencing_token"], tenure["fencing_token"]);
}

#[tokio::test]
async fn only_the_lease_that_holds_the_lock_keeps_it() {
    let app = TestApp::start().await;
    let mine = app.holds("mine", "me").await;
    app.holds("theirs", "them").await;
    let released = app.holds("released", "me").await;
    app.gives_back("released", &released).await;
    for (key, lease) in [
        ("theirs", &mine["lease_id"]),
        ("free", &mine["lease_id"]),
        ("released", &released["lease_id"]),
        ("mine", &json!("1")),
        ("mine", &json!("-1")),
        ("mine", &json!("0")),
    ] {
        let answer = app.keep_alive(key, json!({ "lease_id": lease })).await;
        assert_eq!(answer.status, 404, "{key} {lease}");
        assert_eq!(answer.body["code"], "lease-not-found");
        assert_eq!(answer.body["retryable"], false);
    }
}
