//! etcd is away: it refuses connections, or takes them and says nothing.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::app::{Answer, TestApp};

async fn on_etcd_at(endpoint: &str) -> TestApp {
    let settings = [("STORAGE_TYPE", "etcd"), ("ETCD_ADDR_LIST", endpoint)];
    let service = TestApp::service(&settings);
    TestApp::of(service.start_listening().await.unwrap())
}

/// Every call is answered within `patience`, as an outage and not as a lost lease.
async fn assert_every_call_says_so(app: &TestApp, patience: Duration) {
    let wish = json!({ "holder": "me", "ttl_ms": 1000 });
    let tenure = json!({ "lease_id": "1", "fencing_token": "1" });
    let several =
        json!({ "holder": "me", "ttl_ms": 1000, "locks": [{ "key": "a" }, { "key": "b" }] });
    for (call, body) in [
        ("locks/jobs/acquire", wish),
        ("locks/jobs/keepalive", json!({ "lease_id": "1" })),
        ("locks/jobs/release", tenure.clone()),
        ("locks/jobs/verify", tenure),
        ("locks:acquire-all", several),
        ("locks:inspect", json!({ "key": "jobs" })),
        ("locks:force-release", json!({ "key": "jobs" })),
        ("sessions", json!({ "holder": "me", "ttl_ms": 1000 })),
        ("sessions/1/keepalive", json!({})),
        ("keepalive", json!({ "lease_ids": ["1", "2"] })),
    ] {
        let asked = Instant::now();
        let answer = app.post(&format!("/v1/{call}"), body).await;
        assert_is_outage(call, &answer, asked.elapsed(), patience);
    }
    for call in ["locks/jobs", "locks", "events"] {
        let asked = Instant::now();
        let answer = app.get_json(&format!("/v1/{call}")).await;
        assert_is_outage(call, &answer, asked.elapsed(), patience);
    }
    for call in ["locks/jobs", "sessions/1"] {
        let asked = Instant::now();
        let answer = app.delete(&format!("/v1/{call}")).await;
        assert_is_outage(call, &answer, asked.elapsed(), patience);
    }
    let asked = Instant::now();
    let lease = app.lease("", "{}").await;
    assert_eq!((lease.status, &*lease.body), (500, ""));
    let kept = app.prolong("1").await;
    assert_eq!((kept.status, &*kept.body), (503, ""));
    assert_eq!(kept.header("retry-after"), Some("1"));
    assert!(asked.elapsed() < 2 * patience, "{:?}", asked.elapsed());
    assert_eq!(app.call("GET", "/health", "", "").await.status, 200);
    assert_eq!(app.call("GET", "/livez", "", "").await.status, 200);
    let ready = app.call("GET", "/readyz", "", "").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("etcd: "), "{ready:?}");
}

fn assert_is_outage(call: &str, answer: &Answer, took: Duration, patience: Duration) {
    assert!(took < patience, "{call}: {took:?}");
    assert_eq!(answer.status, 503, "{call}: {answer:?}");
    assert_eq!(answer.body["code"], "store-unavailable", "{call}");
    assert_eq!(answer.header("retry-after"), Some("1"), "{call}");
}

#[tokio::test]
async fn an_etcd_that_refuses_is_told_within_a_second() {
    let port = testbed::free_port().unwrap();
    let app = on_etcd_at(&format!("http://127.0.0.1:{port}")).await;
    assert_every_call_says_so(&app, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn an_etcd_that_is_silent_is_told_within_its_patience() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let silent: JoinHandle<()> = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            taken.push(connection);
        }
    });
    let app = on_etcd_at(&endpoint).await;
    assert_every_call_says_so(&app, Duration::from_millis(2500)).await;
    silent.abort();
}
