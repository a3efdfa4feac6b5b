//! `GET /v1/locks/{key}/events`, `GET /v1/events`

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use testbed::eventually;

use crate::{
    app::TestApp,
    sse::{Event, Events},
};

#[tokio::test]
async fn a_listener_hears_what_happens_to_its_lock_and_no_secret() {
    let app = Arc::new(TestApp::start().await);
    let mut events = Events::open(&app, "/v1/locks/a%2Fb/events").await;
    app.holds("other", "x").await;
    let first = app.holds("a%2Fb", "first").await;
    let Event { id, name, data } = events.next().await.unwrap();
    assert_eq!(name, "acquired");
    assert!(id.unwrap() > 0);
    let told = data.to_string();
    for secret in ["lease_id", "request_id"] {
        assert!(!told.contains(first[secret].as_str().unwrap()), "{told}");
    }
    let mut data = data;
    let at = data["at"].take();
    assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
    assert_eq!(
        data,
        json!({
            "key": "a/b", "event": "acquired", "holder": "first", "mode": "exclusive",
            "fencing_token": first["fencing_token"], "token_epoch": first["token_epoch"], "at": null,
        })
    );

    let waiting = Arc::clone(&app);
    let waiter = tokio::spawn(async move {
        let wish = json!({ "holder": "second", "ttl_ms": 60_000, "wait_ms": 60_000 });
        waiting.acquire("a%2Fb", wish).await
    });
    let queued = events.next().await.unwrap();
    assert_eq!(
        (&*queued.name, &queued.data["fencing_token"]),
        ("queued", &Value::Null)
    );
    app.gives_back("a%2Fb", &first).await;
    let released = events.next().await.unwrap();
    assert_eq!(released.name, "released");
    assert!(released.id > queued.id);
    assert_eq!(events.told().await, ("acquired".into(), "second".into()));
    assert_eq!(waiter.await.unwrap().status, 201);

    app.delete("/v1/locks/a%2Fb?reason=it+hangs").await;
    let lost = events.next().await.unwrap();
    assert_eq!(
        (&*lost.name, &lost.data["reason"]),
        ("lost", &json!("it hangs"))
    );
    app.acquire("a%2Fb", json!({ "holder": "brief", "ttl_ms": 2000 }))
        .await;
    assert_eq!(events.told().await, ("acquired".into(), "brief".into()));
    assert_eq!(events.told().await, ("expired".into(), "brief".into()));
}

#[tokio::test]
async fn a_prefix_a_key_or_nothing_chooses_what_is_heard() {
    let app = TestApp::start().await;
    let mut prefixed = Events::open(&app, "/v1/events?prefix=jobs%2F").await;
    let mut one = Events::open(&app, "/v1/events?key=jobs%2Fb").await;
    let mut all = Events::open(&app, "/v1/events").await;
    for key in ["other", "jobs", "jobs%2Fa", "jobs%2Fb"] {
        app.holds(key, key).await;
    }
    assert_eq!(prefixed.next().await.unwrap().data["key"], "jobs/a");
    assert_eq!(prefixed.next().await.unwrap().data["key"], "jobs/b");
    assert_eq!(one.next().await.unwrap().data["key"], "jobs/b");
    for key in ["other", "jobs", "jobs/a", "jobs/b"] {
        assert_eq!(all.next().await.unwrap().data["key"], key);
    }
}

#[tokio::test]
async fn whoever_comes_back_is_told_that_it_missed_something() {
    let app = TestApp::start().await;
    let url = format!("{}/v1/events", app.service.url());
    let again = reqwest::Client::new().get(url).header("last-event-id", "7");
    let mut events = Events::of(again.send().await.unwrap()).await;
    let missed = events.next().await.unwrap();
    assert_eq!(
        (&*missed.name, missed.data),
        ("missed", json!({ "missed": null }))
    );
    app.holds("jobs", "me").await;
    assert_eq!(events.told().await, ("acquired".into(), "me".into()));
}

#[tokio::test]
async fn streams_end_when_the_service_does() {
    let app = TestApp::start().await;
    let mut events = Events::open(&app, "/v1/events").await;
    let status = app.service.terminate().await.unwrap();
    assert!(status.success(), "{status:?}");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn as_many_listen_as_may_and_who_leaves_makes_room() {
    let app = TestApp::with(&[("MAX_EVENT_STREAMS", "2")]).await;
    let first = Events::open(&app, "/v1/events").await;
    let _second = Events::open(&app, "/v1/locks/jobs/events").await;
    let refused = app.get("/v1/events").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "too-many-streams");
    let streams = async || {
        let metrics = app.get_text("/metrics").await;
        metrics.lines().find_map(|line| {
            line.strip_prefix("shared_lock_event_streams ")
                .map(str::to_owned)
        })
    };
    assert_eq!(streams().await.as_deref(), Some("2"));
    drop(first);
    eventually(
        "there is room",
        Duration::from_secs(5),
        async || match streams().await.as_deref() {
            Some("1") => Ok(()),
            found => Err(format!("{found:?}")),
        },
    )
    .await
    .unwrap();
    Events::open(&app, "/v1/events").await;
}
