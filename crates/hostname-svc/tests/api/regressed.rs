//! A store that comes back from an older state.

use reqwest::Method;
use serde_json::json;
use testbed::OpenBao;

use crate::{
    app::{Answer, TestApp, lock_service, unique, wish},
    vault::{Vault, open_bao},
};

async fn raise(app: &TestApp, floor: u64) -> Answer {
    let body = json!({ "floor": floor });
    let path = "/v1/prefixes/splunk/web/dev/floor";
    app.send(Method::PUT, path, &body, None).await
}

/// Returns when the lock, with its note, was given back.
async fn give_the_lock_back(app: &TestApp) {
    app.service.terminate().await.unwrap();
    app.service.restart().await.unwrap();
    app.reaches("locks").await;
}

#[tokio::test]
async fn a_vault_restored_from_a_snapshot_gives_no_name_twice() {
    let (bao, base) = (OpenBao::start_raft().await.unwrap(), unique("restored"));
    let vault = Vault::of(&bao);
    let locks = lock_service().await.url();
    let app = TestApp::with(vault.service(bao.address(), &base, locks).await).await;
    let body = wish("splunk", "web", "dev");
    for counter in 1..=3 {
        assert_eq!(app.allocate(&body).await.counter(), counter);
    }
    let snapshot = vault.snapshot().await;
    for counter in 4..=6 {
        assert_eq!(app.allocate(&body).await.counter(), counter);
    }
    give_the_lock_back(&app).await;
    vault.restore(snapshot).await;
    bao.unseal().await.unwrap();
    app.service.restart().await.unwrap();
    app.get("/v1/hostnames/splunkweb6dev")
        .await
        .is_problem(404, "hostname-not-found");

    for _ in 0..2 {
        let refused = app.allocate(&body).await;
        refused.is_problem(503, "counter-regressed");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(
            detail.contains("stands at 3") && detail.contains("number 6"),
            "{detail}"
        );
    }
    raise(&app, 5).await.is_problem(503, "counter-regressed");
    assert_eq!(raise(&app, 6).await.body["counter"], 6);
    assert_eq!(app.allocate(&body).await.hostname(), "splunkweb7dev");
}

#[tokio::test]
async fn a_counter_that_was_deleted_with_its_history_does_not_begin_again() {
    let (bao, base) = (open_bao().await, unique("forgotten"));
    let vault = Vault::of(bao);
    let locks = lock_service().await.url();
    let app = TestApp::with(vault.service(bao.address(), &base, locks).await).await;
    let body = wish("splunk", "web", "dev");
    for counter in 1..=2 {
        assert_eq!(app.allocate(&body).await.counter(), counter);
    }
    give_the_lock_back(&app).await;
    let counter = format!("secret/metadata/{base}/counters/splunk/web/dev");
    vault.call("DELETE", &counter, json!(null)).await;
    app.allocate(&body)
        .await
        .is_problem(503, "counter-regressed");
    raise(&app, 2).await;
    assert_eq!(app.allocate(&body).await.hostname(), "splunkweb3dev");
}
