//! Replicas that are processes of their own and are stopped for longer than a lease lives. The tenure
//! that went through one of them is over when it wakes up, and its view does not know that yet.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Etcd, RunningService, Service};
use tokio::time::timeout;

use super::replica;
use crate::contract::{Store, acquired, patient, queued, release, request, until};

/// A replica in a process of its own.
struct Process(RunningService);

impl Process {
    async fn start(etcd: &Etcd) -> Self {
        let service = Service::new("shared-lock-svc")
            .env("SHARED_LOCK_STORAGE_TYPE", "etcd")
            .env("SHARED_LOCK_ETCD_ADDR_LIST", etcd.endpoint());
        Self(service.start().await.unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.0.url());
        let post = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = post.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Takes a lock, and names the tenure as later calls do.
    async fn holds(&self, lock: &str, body: Value) -> Value {
        let (status, held) = self.post(&format!("/v1/locks/{lock}/acquire"), body).await;
        assert_eq!(status, 201, "{held}");
        json!({ "lease_id": held["lease_id"], "fencing_token": held["fencing_token"] })
    }

    /// Asks for everything that only a holder may have, and gets nothing of it.
    async fn has_lost(&self, lock: &str, tenure: &Value) {
        let call = async |verb: &str, body: Value| {
            self.post(&format!("/v1/locks/{lock}/{verb}"), body).await
        };
        let (status, verified) = call("verify", tenure.clone()).await;
        assert_eq!(
            (status, &verified["current"]),
            (200, &json!(false)),
            "{verified}"
        );
        let lease = json!({ "lease_id": tenure["lease_id"] });
        let (status, kept) = call("keepalive", lease).await;
        assert_eq!(status, 404, "{kept}");
        let (status, released) = call("release", tenure.clone()).await;
        assert_eq!(
            (status, &released["released"]),
            (200, &json!(false)),
            "{released}"
        );
    }
}

/// Stops a replica until the lock that a holder had through it went to somebody else.
async fn sleeps_until_it_is_gone(
    process: &Process,
    other: &Store,
    lock: &str,
) -> shared_lock_svc::lease::Tenure {
    let heir = queued(other, patient(request(lock, "heir"))).await;
    process.0.pause().unwrap();
    let heir = timeout(Duration::from_secs(10), heir).await;
    acquired(heir.expect("nobody gets it").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_slept_too_long_can_neither_release_nor_renew_nor_verify() {
    let etcd = Etcd::start().await.unwrap();
    let (process, other) = (Process::start(&etcd).await, replica(etcd.endpoint()).await);
    for mode in [
        json!({}),
        json!({ "mode": "shared" }),
        json!({ "mode": "permit", "limit": 2, "weight": 2 }),
    ] {
        let mut wish = json!({ "holder": "sleeper", "ttl_ms": 2000 });
        wish.as_object_mut()
            .unwrap()
            .extend(mode.as_object().unwrap().clone());
        let tenure = process.holds("slept", wish).await;
        let heir = sleeps_until_it_is_gone(&process, &other, "slept").await;
        process.0.resume().unwrap();
        process.has_lost("slept", &tenure).await;
        assert!(
            release(&other, "slept", &heir).await,
            "the heir was not disturbed"
        );
        // It comes back by itself, and takes locks again.
        process.0.ready().await.unwrap();
        let again = process
            .holds("slept", json!({ "holder": "sleeper", "ttl_ms": 60_000 }))
            .await;
        let (_, released) = process.post("/v1/locks/slept/release", again).await;
        assert_eq!(released["released"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_with_a_session_and_all_its_locks() {
    let etcd = Etcd::start().await.unwrap();
    let (process, other) = (Process::start(&etcd).await, replica(etcd.endpoint()).await);
    let wish = json!({ "holder": "sleeper", "ttl_ms": 2000 });
    let (status, session) = process.post("/v1/sessions", wish).await;
    assert_eq!(status, 201, "{session}");
    let id = session["session_id"].as_str().unwrap();
    let wish = json!({ "holder": "sleeper", "session_id": id });
    let mut tenures = Vec::new();
    for lock in ["slept-1", "slept-2"] {
        tenures.push(process.holds(lock, wish.clone()).await);
    }
    let heir = sleeps_until_it_is_gone(&process, &other, "slept-1").await;
    until(&other, "slept-2", "it is free", |view| {
        view.holders.is_empty()
    })
    .await;
    process.0.resume().unwrap();
    for (lock, tenure) in ["slept-1", "slept-2"].iter().zip(&tenures) {
        process.has_lost(lock, tenure).await;
    }
    let (status, gone) = process
        .post(&format!("/v1/sessions/{id}/keepalive"), json!({}))
        .await;
    assert_eq!((status, &gone["code"]), (404, &json!("session-not-found")));
    let (status, gone) = process.post("/v1/locks/slept-2/acquire", wish).await;
    assert_eq!((status, &gone["code"]), (404, &json!("session-not-found")));
    assert!(
        release(&other, "slept-1", &heir).await,
        "the heir was not disturbed"
    );
}
