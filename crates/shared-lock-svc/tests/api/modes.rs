//! Modes, notes and lock-delay of `POST /v1/locks/{key}/acquire`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::app::TestApp;

const SOON: Duration = Duration::from_secs(5);

fn shared(holder: &str) -> Value {
    json!({ "holder": holder, "ttl_ms": 60_000, "mode": "shared" })
}

fn permit(holder: &str, limit: u32, weight: u32) -> Value {
    json!({ "holder": holder, "ttl_ms": 60_000, "mode": "permit", "limit": limit, "weight": weight })
}

#[tokio::test]
async fn readers_hold_together_and_a_writer_waits_for_the_last() {
    let app = Arc::new(TestApp::start().await);
    let first = app.acquire("jobs", shared("first")).await;
    let second = app.acquire("jobs", shared("second")).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
    assert_eq!(first.body["mode"], "shared");
    let waiting = Arc::clone(&app);
    let writer = tokio::spawn(async move {
        let wish = json!({ "holder": "writer", "ttl_ms": 60_000, "wait_ms": 60_000 });
        waiting.acquire("jobs", wish).await
    });
    app.queue_is("jobs", 1, SOON).await;
    let view = app.inspect("jobs").await;
    let holders = view["holders"].as_array().unwrap();
    let modes: Vec<_> = holders.iter().map(|h| (&h["holder"], &h["mode"])).collect();
    assert_eq!(
        modes,
        [
            (&json!("first"), &json!("shared")),
            (&json!("second"), &json!("shared"))
        ]
    );
    assert_eq!(view["waiters"][0]["mode"], "exclusive");
    let late = app.acquire("jobs", shared("late")).await;
    assert_eq!(late.status, 409, "a writer that waits is not passed");
    app.gives_back("jobs", &first.body).await;
    app.gives_back("jobs", &second.body).await;
    let writer = writer.await.unwrap();
    assert_eq!(writer.status, 201);
    let token = |body: &Value| {
        body["fencing_token"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(token(&writer.body) > token(&second.body));
}

#[tokio::test]
async fn permits_fit_up_to_their_limit() {
    let app = TestApp::start().await;
    let heavy = app.acquire("pool", permit("heavy", 3, 2)).await;
    assert_eq!(heavy.status, 201, "{heavy:?}");
    let told = ["mode", "limit", "weight"].map(|field| heavy.body[field].clone());
    assert_eq!(told, [json!("permit"), json!(3), json!(2)]);
    assert_eq!(
        app.acquire("pool", permit("too heavy", 3, 2)).await.status,
        409
    );
    let light = json!({ "holder": "light", "ttl_ms": 60_000, "mode": "permit", "limit": 3 });
    let light = app.acquire("pool", light).await;
    assert_eq!(
        (light.status.as_u16(), &light.body["weight"]),
        (201, &json!(1))
    );
    let view = app.inspect("pool").await;
    assert_eq!(view["holders"][0]["weight"], 2);
    assert_eq!(view["holders"][1]["limit"], 3);
    app.gives_back("pool", &heavy.body).await;
    assert_eq!(
        app.acquire("pool", permit("too heavy", 3, 2)).await.status,
        201
    );
    let old = app.lease("", r#"{"key":"pool"}"#).await;
    assert_eq!(old.status, 202, "the old wire sees that it is held");
}

#[tokio::test]
async fn a_note_is_there_for_whoever_comes_next() {
    let app = TestApp::start().await;
    let mut tenure = app.holds("jobs", "first").await;
    assert_eq!(tenure.get("note"), None);
    for (note, found) in [
        (Some("row 17"), Some("row 17")),
        (None, Some("row 17")),
        (Some("ä\n\0"), Some("ä\n\0")),
    ] {
        let mut release = json!({
            "lease_id": tenure["lease_id"], "fencing_token": tenure["fencing_token"],
        });
        if let Some(note) = note {
            release["note"] = json!(note);
        }
        assert_eq!(
            app.release("jobs", release).await.body,
            json!({ "released": true })
        );
        tenure = app.holds("jobs", "next").await;
        assert_eq!(tenure["note"].as_str(), found);
    }
    let longest = json!({ "request_id": tenure["request_id"], "note": "n".repeat(1024) });
    assert_eq!(
        app.release("jobs", longest.clone()).await.body,
        json!({ "released": true })
    );
    assert_eq!(
        app.release("jobs", longest).await.body,
        json!({ "released": false })
    );
    let tenure = app.holds("jobs", "next").await;
    assert_eq!(tenure["note"].as_str().map(str::len), Some(1024));
}

#[tokio::test]
async fn a_lock_delay_keeps_the_lock_free_after_an_expiry_and_not_after_a_release() {
    let app = TestApp::start().await;
    let delayed = json!({ "holder": "first", "ttl_ms": 2000, "lock_delay_ms": 2000 });
    let tenure = app.acquire("given%20back", delayed.clone()).await;
    app.gives_back("given%20back", &tenure.body).await;
    app.holds("given%20back", "second").await;

    let started = Instant::now();
    assert_eq!(app.acquire("left", delayed).await.status, 201);
    let next = json!({ "holder": "second", "ttl_ms": 2000, "wait_ms": 20_000 });
    let next = app.acquire("left", next).await;
    assert_eq!(next.status, 201, "{next:?}");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(3900), "{took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
}
