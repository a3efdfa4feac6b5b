//! The same calls on every store: what a caller sees does not tell which one it is.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use testbed::{Etcd, OpenBao};

use crate::{app::TestApp, sse::Events};

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
        whole(&app).await;
        let status = app.service.terminate().await.unwrap();
        assert!(status.success(), "{settings:?}: {status:?}");
    }
}

/// A store whose locks are documents: each lock as everywhere, and 501 for what spans locks.
#[tokio::test]
async fn a_store_on_vault_does_all_of_one_lock_and_says_501_to_the_rest() {
    let bao = OpenBao::start().await.unwrap();
    let token = bao.root_token();
    let settings = [
        ("STORAGE_TYPE", "vault"),
        ("VAULT_ADDR", bao.address()),
        ("VAULT_TOKEN", &token),
    ];
    let app = Arc::new(TestApp::with(&settings).await);
    native(&app).await;
    refuses_what_spans_locks(&app).await;
    let status = app.service.terminate().await.unwrap();
    assert!(status.success(), "{status:?}");
}

pub(crate) async fn refuses_what_spans_locks(app: &TestApp) {
    let session = json!({ "holder": "s", "ttl_ms": 60_000 });
    let all = json!({ "holder": "s", "ttl_ms": 60_000, "locks": [{ "key": "one" }] });
    let refused = [
        app.post("/v1/sessions", session).await,
        app.post("/v1/locks:acquire-all", all).await,
        app.get_json("/v1/locks").await,
        app.get_json("/v1/events").await,
        app.get_json("/v1/locks/one/events").await,
        app.post("/v1/keepalive", json!({ "lease_ids": ["1"] }))
            .await,
    ];
    for answer in refused {
        let said = (answer.status.as_u16(), &answer.body["code"]);
        assert_eq!(said, (501, &json!("unsupported-by-store")), "{answer:?}");
    }
    let lease = app.lease("x-lease-ttl: 60s\r\n", r#"{"key":"one"}"#).await;
    assert_eq!(lease.status, 501, "{lease:?}");
    assert_eq!(app.prolong("12345").await.status, 501);
    assert_eq!(app.inspect("one").await["holders"], json!([]));
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

pub(crate) async fn native(app: &Arc<TestApp>) {
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

/// What came after the first calls: modes, sessions, several locks, verification, notes, force.
async fn whole(app: &TestApp) {
    let mut events = Events::open(app, "/v1/locks/rw/events").await;
    let reader = json!({ "holder": "r", "ttl_ms": 60_000, "mode": "shared" });
    let readers = [
        app.acquire("rw", reader.clone()).await,
        app.acquire("rw", reader).await,
    ];
    assert!(
        readers.iter().all(|reader| reader.status == 201),
        "{readers:?}"
    );
    let forced = app.delete("/v1/locks/rw?reason=test").await;
    assert_eq!(
        forced.body["released"].as_array().map(Vec::len),
        Some(2),
        "{forced:?}"
    );
    for name in ["acquired", "acquired", "lost", "lost"] {
        assert_eq!(events.told().await, (name.to_owned(), "r".to_owned()));
    }
    let permit =
        json!({ "holder": "p", "ttl_ms": 60_000, "mode": "permit", "limit": 3, "weight": 2 });
    assert_eq!(app.acquire("pool", permit.clone()).await.status, 201);
    let full = app.acquire("pool", permit).await;
    assert_eq!(
        (full.status.as_u16(), &full.body["code"]),
        (409, &json!("lock-held")),
        "{full:?}"
    );

    let opened = app
        .post("/v1/sessions", json!({ "holder": "s", "ttl_ms": 60_000 }))
        .await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let session = opened.body["session_id"].as_str().unwrap();
    let wish = json!({ "holder": "s", "session_id": session, "lock_delay_ms": 1000 });
    let tenure = app.acquire("in%20a%20session", wish).await;
    assert_eq!(tenure.status, 201, "{tenure:?}");
    let claim = json!({
        "lease_id": session, "fencing_token": tenure.body["fencing_token"],
    });
    let current = app
        .post("/v1/locks/in%20a%20session/verify", claim.clone())
        .await;
    assert_eq!(current.body["current"], true, "{current:?}");
    let mut release = claim;
    release["note"] = json!("read on");
    assert_eq!(
        app.release("in%20a%20session", release).await.body,
        json!({ "released": true })
    );
    let next = app.holds("in%20a%20session", "next").await;
    assert_eq!(next["note"], "read on");

    let all = json!({
        "holder": "s", "session_id": session, "locks": [{ "key": "one" }, { "key": "two" }],
    });
    let all = app.post("/v1/locks:acquire-all", all).await;
    assert_eq!(all.status, 201, "{all:?}");
    assert_eq!(all.body["session_id"], session);
    let kept = app
        .post("/v1/keepalive", json!({ "lease_ids": [session] }))
        .await;
    assert_eq!(kept.body["leases"][0]["renewed"], true, "{kept:?}");
    let ended = app.delete(&format!("/v1/sessions/{session}")).await;
    assert_eq!(ended.body, json!({ "ended": true }));
    assert_eq!(app.inspect("two").await["holders"], json!([]));
    let page = app.get_json("/v1/locks?prefix=po").await;
    let holders = &page.body["locks"][0]["holders"];
    assert_eq!(holders[0]["weight"], 2, "{page:?}");
    let gone = app
        .post_empty(&format!("/v1/sessions/{session}/keepalive"))
        .await;
    assert_eq!(
        (gone.status.as_u16(), &gone.body["code"]),
        (404, &json!("session-not-found"))
    );
}
