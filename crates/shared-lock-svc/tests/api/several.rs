//! `POST /v1/locks:acquire-all`

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::app::TestApp;

fn wish(keys: &[&str], wait_ms: u64) -> Value {
    let locks: Vec<_> = keys.iter().map(|key| json!({ "key": key })).collect();
    json!({ "holder": "me", "ttl_ms": 60_000, "locks": locks, "wait_ms": wait_ms, "request_id": "q" })
}

#[tokio::test]
async fn all_are_taken_on_one_session_or_none() {
    let app = TestApp::start().await;
    let mut asked = wish(&["a/1", "b"], 0);
    asked["locks"][1]["mode"] = json!("shared");
    let all = app.post("/v1/locks:acquire-all", asked).await;
    assert_eq!(all.status, 201, "{all:?}");
    assert_eq!(
        (&all.body["holder"], &all.body["request_id"]),
        (&json!("me"), &json!("q"))
    );
    assert_eq!(all.body["ttl_ms"], 60_000);
    let locks = all.body["locks"].as_array().unwrap();
    let names: Vec<_> = locks
        .iter()
        .map(|lock| (&lock["key"], &lock["mode"]))
        .collect();
    assert_eq!(
        names,
        [
            (&json!("a/1"), &json!("exclusive")),
            (&json!("b"), &json!("shared"))
        ]
    );
    let held = app.inspect("a%2F1").await;
    assert_eq!(
        held["holders"][0]["fencing_token"],
        locks[0]["fencing_token"]
    );

    let refused = app
        .post("/v1/locks:acquire-all", wish(&["c", "b"], 100))
        .await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["code"]),
        (409, &json!("request-known"))
    );
    let mut other = wish(&["c", "b"], 100);
    other["request_id"] = json!("other");
    let refused = app.post("/v1/locks:acquire-all", other).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["code"]),
        (409, &json!("lock-held"))
    );
    assert_eq!(
        (&refused.body["key"], &refused.body["holder"]),
        (&json!("b"), &json!("me"))
    );
    assert_eq!(app.inspect("c").await["holders"], json!([]));

    let session = all.body["session_id"].as_str().unwrap();
    let kept = app
        .post_empty(&format!("/v1/sessions/{session}/keepalive"))
        .await;
    assert_eq!(kept.status, 200);
    let one = json!({ "lease_id": session, "fencing_token": locks[1]["fencing_token"] });
    assert_eq!(
        app.release("b", one).await.body,
        json!({ "released": true })
    );
    let ended = app.delete(&format!("/v1/sessions/{session}")).await;
    assert_eq!(ended.body, json!({ "ended": true }));
    assert_eq!(app.inspect("a%2F1").await["holders"], json!([]));
}

#[tokio::test]
async fn it_is_tried_again_when_a_lock_changes() {
    let app = Arc::new(TestApp::start().await);
    let tenure = app.holds("b", "first").await;
    let asking = Arc::clone(&app);
    let all = tokio::spawn(async move {
        asking
            .post("/v1/locks:acquire-all", wish(&["a", "b"], 30_000))
            .await
    });
    testbed::eventually("it is on its way", Duration::from_secs(5), async || {
        let metrics = app.get_text("/metrics").await;
        match metrics.lines().any(|line| line == "shared_lock_waiters 1") {
            true => Ok(()),
            false => Err("nobody waits"),
        }
    })
    .await
    .unwrap();
    app.gives_back("b", &tenure).await;
    assert_eq!(all.await.unwrap().status, 201);
}
