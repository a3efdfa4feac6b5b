//! `/v1/sessions`: one lease that carries many locks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep_until;

use crate::app::TestApp;

const SOON: Duration = Duration::from_secs(5);

async fn opens(app: &TestApp, holder: &str, ttl_ms: u64) -> String {
    let wish = json!({ "holder": holder, "ttl_ms": ttl_ms });
    let answer = app.post("/v1/sessions", wish).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["session_id"].as_str().unwrap().to_owned()
}

fn within(session: &str, holder: &str, wait_ms: u64) -> Value {
    json!({ "holder": holder, "session_id": session, "wait_ms": wait_ms })
}

#[tokio::test]
async fn a_session_carries_locks_and_ends_with_them() {
    let app = TestApp::start().await;
    let answer = app
        .post("/v1/sessions", json!({ "holder": "me", "ttl_ms": 59_001 }))
        .await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        (&answer.body["holder"], &answer.body["ttl_ms"]),
        (&json!("me"), &json!(60_000))
    );
    assert!(answer.body["remaining_ms"].as_u64().unwrap() > 50_000);
    assert!(answer.body["elapsed_ms"].as_u64().unwrap() < 5000);
    let session = answer.body["session_id"].as_str().unwrap();

    let mut tenures = Vec::new();
    for key in ["a", "b"] {
        let tenure = app.acquire(key, within(session, "me", 0)).await;
        assert_eq!(tenure.status, 201, "{tenure:?}");
        assert_eq!(
            (&tenure.body["lease_id"], &tenure.body["ttl_ms"]),
            (&json!(session), &json!(60_000))
        );
        tenures.push(tenure.body);
    }
    app.gives_back("a", &tenures[0]).await;
    let kept = app
        .post_empty(&format!("/v1/sessions/{session}/keepalive"))
        .await;
    assert_eq!(kept.status, 200, "{kept:?}");
    assert_eq!(
        (&kept.body["session_id"], &kept.body["ttl_ms"]),
        (&json!(session), &json!(60_000))
    );

    let path = format!("/v1/sessions/{session}");
    assert_eq!(app.delete(&path).await.body, json!({ "ended": true }));
    assert_eq!(app.delete(&path).await.body, json!({ "ended": false }));
    assert_eq!(app.inspect("b").await["holders"], json!([]));
    for gone in [
        app.post_empty(&format!("{path}/keepalive")).await,
        app.acquire("a", within(session, "me", 0)).await,
        app.acquire("a", within("12345", "me", 1000)).await,
    ] {
        assert_eq!(gone.status, 404, "{gone:?}");
        assert_eq!(gone.body["code"], "session-not-found");
    }
    // The lock may come to the same session again: a late release does not free it.
    let again = opens(&app, "me", 60_000).await;
    let first = app.acquire("c", within(&again, "me", 0)).await.body;
    app.gives_back("c", &first).await;
    let second = app.acquire("c", within(&again, "me", 0)).await;
    assert_eq!(second.body["lease_id"], first["lease_id"]);
    let late = json!({ "lease_id": first["lease_id"], "fencing_token": first["fencing_token"] });
    assert_eq!(
        app.release("c", late).await.body,
        json!({ "released": false })
    );
}

#[tokio::test]
async fn a_session_that_is_kept_alive_keeps_its_locks_and_one_that_is_not_loses_them() {
    let app = TestApp::start().await;
    let started = Instant::now();
    let (kept, left) = (
        opens(&app, "kept", 2000).await,
        opens(&app, "left", 2000).await,
    );
    let lease = app
        .lease("x-lease-ttl: 2s\r\n", r#"{"key":"lease"}"#)
        .await
        .body;
    for (key, session) in [("a", &kept), ("b", &left)] {
        assert_eq!(app.acquire(key, within(session, "me", 0)).await.status, 201);
    }
    for second in 1..=4 {
        sleep_until((started + Duration::from_secs(second)).into()).await;
        let wish = json!({ "lease_ids": [kept, lease, "12345"] });
        let answer = app.post("/v1/keepalive", wish).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let leases = answer.body["leases"].as_array().unwrap();
        for (found, id) in leases.iter().zip([&kept, &lease]) {
            assert_eq!(
                (&found["lease_id"], &found["renewed"]),
                (&json!(id), &json!(true))
            );
            assert_eq!(found["ttl_ms"], 2000);
            assert!(found["remaining_ms"].as_u64().unwrap() > 1000);
        }
        let gone = json!({ "lease_id": "12345", "renewed": false, "code": "lease-not-found" });
        assert_eq!(leases[2], gone);
    }
    assert_eq!(app.inspect("a").await["holders"][0]["holder"], "me");
    assert_eq!(app.inspect("b").await["holders"], json!([]));
    assert_eq!(app.lease("", r#"{"key":"lease"}"#).await.body, lease);
}

#[tokio::test]
async fn one_call_renews_a_session_and_tells_which_of_its_locks_it_still_has() {
    let app = TestApp::start().await;
    let session = opens(&app, "me", 10_000).await;
    let mut tenures = Vec::new();
    for key in ["kept", "forced"] {
        let granted = app.acquire(key, within(&session, "me", 0)).await.body;
        let token = granted["fencing_token"].clone();
        tenures.push(json!({ "key": key, "lease_id": session, "fencing_token": token }));
    }
    let forced = app.delete("/v1/locks/forced?reason=test").await;
    assert_eq!(forced.status, 200, "{forced:?}");
    // Held again by the same session, under another token: the first tenure is over all the same.
    let again = app.acquire("forced", within(&session, "me", 0)).await;
    assert_eq!(again.status, 201);
    let wish = json!({ "lease_ids": [session], "locks": tenures });
    let answer = app.post("/v1/keepalive", wish).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["leases"][0]["renewed"], true);
    let token = |number: usize| &tenures[number]["fencing_token"];
    assert_eq!(
        answer.body["locks"],
        json!([
            { "key": "kept", "fencing_token": token(0), "current": true },
            { "key": "forced", "fencing_token": token(1), "current": false },
        ])
    );
}

#[tokio::test]
async fn two_sessions_that_wait_for_each_other_are_told_the_circle() {
    let app = Arc::new(TestApp::start().await);
    let (one, two) = (
        opens(&app, "one", 60_000).await,
        opens(&app, "two", 60_000).await,
    );
    assert_eq!(app.acquire("a", within(&one, "one", 0)).await.status, 201);
    let second = app.acquire("b", within(&two, "two", 0)).await.body;
    let waiting = Arc::clone(&app);
    let wish = within(&one, "one", 60_000);
    let waiter = tokio::spawn(async move { waiting.acquire("b", wish).await });
    app.queue_is("b", 1, SOON).await;

    let asked = Instant::now();
    let told = app.acquire("a", within(&two, "two", 60_000)).await;
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert_eq!(
        (told.status.as_u16(), &told.body["code"]),
        (409, &json!("deadlock"))
    );
    assert_eq!(told.body["retryable"], false);
    assert_eq!(
        told.body["cycle"],
        json!([{ "key": "a", "holder": "two" }, { "key": "b", "holder": "one" }])
    );
    app.gives_back("b", &second).await;
    assert_eq!(waiter.await.unwrap().status, 201);
}
