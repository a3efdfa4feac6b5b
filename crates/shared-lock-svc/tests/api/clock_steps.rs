//! The wall clock of the service is stepped, as a time server does, or a person.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Etcd, SteppedClock};

use crate::app::TestApp;

const HOUR: i64 = 3_600;
const TTL: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_stepped_clock_moves_no_lease_on_etcd() {
    let etcd = Etcd::start().await.unwrap();
    let (clock, app) = stepped(&[
        ("STORAGE_TYPE", "etcd"),
        ("ETCD_ADDR_LIST", etcd.endpoint()),
    ])
    .await;
    let held_ms = async || {
        let view = app.inspect("dated").await;
        view["holders"][0]["held_ms"].as_u64().unwrap()
    };
    app.holds("dated", "me").await;
    clock.set(HOUR).unwrap();
    assert!(held_ms().await >= 3_600_000, "the service sees the step");
    clock.set(-HOUR).unwrap();
    assert_eq!(held_ms().await, 0);
    clock.set(0).unwrap();
    each_step_moves_no_lease(&clock, &app).await;
}

#[tokio::test]
async fn a_stepped_clock_moves_no_lease_on_the_embedded_store() {
    let (clock, app) = stepped(&[("STORAGE_TYPE", "embedded")]).await;
    each_step_moves_no_lease(&clock, &app).await;
}

async fn stepped(settings: &[(&str, &str)]) -> (SteppedClock, TestApp) {
    let clock = SteppedClock::new().unwrap();
    let mut service = TestApp::service(settings);
    for (name, value) in clock.environment() {
        service = service.env(name, value);
    }
    let app = TestApp::of(service.start().await.unwrap());
    (clock, app)
}

async fn each_step_moves_no_lease(clock: &SteppedClock, app: &TestApp) {
    for (key, step) in [("forward", HOUR), ("back", -HOUR)] {
        let wish = json!({ "holder": "me", "ttl_ms": TTL.as_millis() });
        let tenure = app.acquire(key, wish).await.body;
        clock.set(step).unwrap();
        let stepped = Instant::now();
        is_kept(app, key, &tenure).await;
        let waits = json!({ "holder": "you", "ttl_ms": 60_000, "wait_ms": 60_000 });
        let next = app.acquire(key, waits).await;
        let waited = stepped.elapsed();
        assert_eq!(next.status, 201, "{next:?}");
        // The TTL began with the renewal, and stores look for what has expired only now and then.
        let expected = TTL - Duration::from_millis(500)..TTL * 3;
        assert!(expected.contains(&waited), "{key}: {waited:?}");
        a_wait_ends_in_time(app, key).await;
    }
}

/// The lock is its holder's, for as long as it was before the step.
async fn is_kept(app: &TestApp, key: &str, tenure: &Value) {
    let claim = json!({ "lease_id": tenure["lease_id"], "fencing_token": tenure["fencing_token"] });
    let verify = format!("/v1/locks/{key}/verify");
    let verified = app.post(&verify, claim).await;
    assert_eq!(verified.body["current"], true);
    let refused = app
        .acquire(key, json!({ "holder": "you", "ttl_ms": 60_000 }))
        .await;
    assert_eq!(refused.status, 409, "{refused:?}");
    let kept = app
        .keep_alive(key, json!({ "lease_id": tenure["lease_id"] }))
        .await;
    assert_eq!(kept.status, 200, "{kept:?}");
    assert_eq!(kept.body["ttl_ms"], 5_000, "{kept:?}");
}

async fn a_wait_ends_in_time(app: &TestApp, key: &str) {
    let asked = Instant::now();
    let waits = json!({ "holder": "they", "ttl_ms": 60_000, "wait_ms": 1_000 });
    let refused = app.acquire(key, waits).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    let waited = asked.elapsed();
    assert!(
        (Duration::from_secs(1)..Duration::from_secs(20)).contains(&waited),
        "{waited:?}"
    );
}
