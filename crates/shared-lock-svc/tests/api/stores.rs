//! The same calls on every store: what a caller sees does not tell which one it is.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use testbed::Etcd;

use crate::app::TestApp;

#[tokio::test]
async fn a_caller_cannot_tell_one_store_from_another() {
    let etcd = Etcd::start().await.unwrap();
    let addresses = etcd.endpoint();
    for settings in [
        &[("STORAGE_TYPE", "memory")][..],
        &[("STORAGE_TYPE", "mock")],
        &[("STORAGE_TYPE", "embedded")],
        &[("STORAGE_TYPE", "etcd"), ("ETCD_ADDR_LIST", addresses)],
    ] {
        let app = Arc::new(TestApp::with(settings).await);
        old_wire(&app).await;
        native(&app).await;
        let status = app.service.terminate().await.unwrap();
        assert!(status.success(), "{settings:?}: {status:?}");
    }
}

async fn old_wire(app: &TestApp) {
    let body =
        r#"{"key":"old","value":"client","labels":{"app":"x"},"timestamp":"2026-11-23T12:00:00Z"}"#;
    let created = app.lease("x-lease-ttl: 60s\r\n", body).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("x-lease-ttl-granted"), Some("60s"));
    let accepted = app.lease("x-lease-ttl: 60s\r\n", body).await;
    assert_eq!((accepted.status, &accepted.body), (202, &created.body));
    assert_eq!(app.prolong(&created.body).await.status, 200);
    assert_eq!(app.prolong("12345").await.status, 204);
    let absurd = app
        .lease("x-lease-ttl: 2562047h\r\n", r#"{"key":"absurd"}"#)
        .await;
    assert_eq!((absurd.status, &*absurd.body), (500, ""));
}

async fn native(app: &Arc<TestApp>) {
    let first = app.holds("a%2Fb", "first").await;
    let held = app
        .acquire("a%2Fb", json!({ "holder": "x", "ttl_ms": 1000 }))
        .await;
    assert_eq!(held.status, 409, "{held:?}");
    assert_eq!(held.body["holder"], "first");
    let waiting = Arc::clone(app);
    let waiter = tokio::spawn(async move {
        let wish = json!({
            "holder": "second", "ttl_ms": 60_000, "wait_ms": 30_000, "request_id": "q",
        });
        waiting.acquire("a%2Fb", wish).await
    });
    app.queue_is("a%2Fb", 1, Duration::from_secs(5)).await;
    app.gives_back("a%2Fb", &first).await;
    let second = waiter.await.unwrap();
    assert_eq!(second.status, 201, "{second:?}");
    let token = |body: &serde_json::Value| body["fencing_token"].as_str().unwrap().parse::<u64>();
    assert!(token(&second.body).unwrap() > token(&first).unwrap());
    let lease = json!({ "lease_id": second.body["lease_id"] });
    let kept = app.keep_alive("a%2Fb", lease).await;
    assert_eq!(
        (kept.status.as_u16(), &kept.body["ttl_ms"]),
        (200, &json!(60_000))
    );
    let view = app.inspect("a%2Fb").await;
    assert_eq!(view["holders"][0]["holder"], "second");
    let ended = app.release("a%2Fb", json!({ "request_id": "q" })).await;
    assert_eq!(ended.body, json!({ "released": true }));
    let wish = json!({ "holder": "second", "ttl_ms": 1000, "request_id": "q" });
    assert_eq!(app.acquire("a%2Fb", wish).await.status, 410);
    assert_eq!(app.inspect("a%2Fb").await["holders"], json!([]));
}
