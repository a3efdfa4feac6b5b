//! What one holder may ask for at once, and what a fleet with older peers may.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use testbed::eventually;

use crate::app::TestApp;

const SOON: Duration = Duration::from_secs(5);

fn wish(holder: &str, wait_ms: u64) -> Value {
    json!({ "holder": holder, "ttl_ms": 60_000, "wait_ms": wait_ms })
}

#[tokio::test]
async fn a_holder_waits_for_as_many_locks_as_it_may() {
    let app = Arc::new(TestApp::with(&[("MAX_WAITERS_PER_HOLDER", "2")]).await);
    let tenure = app.holds("jobs", "first").await;
    let mut waiters = Vec::new();
    for _ in 0..2 {
        let app = Arc::clone(&app);
        let waits = async move { app.acquire("jobs", wish("eager", 60_000)).await };
        waiters.push(tokio::spawn(waits));
    }
    app.queue_is("jobs", 2, SOON).await;
    let refused = app.acquire("jobs", wish("eager", 1000)).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.body["code"], "too-many-waiters");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let elsewhere = app.acquire("other", wish("eager", 1000)).await;
    assert_eq!(elsewhere.status, 429, "every wait counts");
    let at_once = app.acquire("other", wish("eager", 0)).await;
    assert_eq!(at_once.status, 201, "who does not wait may ask");
    let another = app.acquire("jobs", wish("modest", 1)).await;
    assert_eq!(another.status, 409, "others may wait");

    app.gives_back("jobs", &tenure).await;
    eventually("a place is free", SOON, async || {
        match app.acquire("jobs", wish("eager", 1)).await.status.as_u16() {
            409 => Ok(()),
            status => Err(status),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_holder_has_as_many_locks_as_it_may() {
    let app = TestApp::with(&[("MAX_LOCKS_PER_HOLDER", "3")]).await;
    let mut tenures = Vec::new();
    for key in ["a", "b", "c"] {
        tenures.push(app.holds(key, "greedy").await);
    }
    let refused = app.acquire("d", wish("greedy", 0)).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.body["code"], "too-many-locks");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(app.inspect("d").await["holders"], json!([]));
    let old = app.lease("", r#"{"key":"old","value":"greedy"}"#).await;
    assert_eq!(old.status, 201, "the old wire knows no holder");
    app.holds("d", "modest").await;

    // The old one counts: what is held is held.
    for (key, tenure) in ["a", "b"].into_iter().zip(&tenures) {
        app.gives_back(key, tenure).await;
    }
    eventually("a place is free", SOON, async || {
        match app.acquire("e", wish("greedy", 0)).await.status.as_u16() {
            201 => Ok(()),
            status => Err(status),
        }
    })
    .await
    .unwrap();
    let refused = app.acquire("f", wish("greedy", 0)).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    let expiring = json!({ "holder": "brief", "ttl_ms": 2000 });
    for key in ["g", "h", "i"] {
        assert_eq!(app.acquire(key, expiring.clone()).await.status, 201);
    }
    assert_eq!(app.acquire("j", expiring.clone()).await.status, 429);
    eventually("what ran out is not held", SOON, async || {
        match app.acquire("j", expiring.clone()).await.status.as_u16() {
            201 => Ok(()),
            status => Err(status),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn modes_that_older_peers_do_not_respect_are_refused_beside_them() {
    let app = TestApp::with(&[("COMPAT_GO_REPLICAS", "true")]).await;
    for mode in [
        json!({ "mode": "shared" }),
        json!({ "mode": "permit", "limit": 2 }),
    ] {
        let mut one = wish("me", 0);
        one.as_object_mut()
            .unwrap()
            .extend(mode.as_object().unwrap().clone());
        let refused = app.acquire("jobs", one).await;
        assert_eq!(refused.status, 409, "{refused:?}");
        assert_eq!(refused.body["code"], "mixed-fleet");
        assert_eq!(refused.body["retryable"], false);
        let mut second = mode;
        second["key"] = json!("b");
        let several = json!({ "holder": "me", "ttl_ms": 1000, "locks": [{ "key": "a" }, second] });
        let refused = app.post("/v1/locks:acquire-all", several).await;
        assert_eq!(refused.body["code"], "mixed-fleet", "{refused:?}");
    }
    app.holds("jobs", "me").await;
}
