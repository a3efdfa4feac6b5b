//! Documents of somebody else's, deleted ones, and what Vault permits.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::OpenBao;

use crate::{
    app::{TestApp, lock_service, wish},
    vault::{Vault, gap_free, open_bao},
};

/// The service below `base`, with the policy that the project ships.
async fn app(vault: &Vault, base: &str) -> TestApp {
    let locks = lock_service().await.url();
    TestApp::with(vault.service(open_bao().await.address(), base, locks).await).await
}

#[tokio::test]
async fn hostnames_are_listed_with_the_rights_that_are_shipped() {
    let vault = Vault::of(open_bao().await);
    let app = app(&vault, "listed").await;
    for (role, environment, count) in [("web", "dev", 3), ("web", "ci", 1), ("db", "dev", 2)] {
        for _ in 0..count {
            let body = wish("splunk", role, environment);
            assert_eq!(app.allocate(&body).await.status, 201);
        }
    }
    app.allocate(&wish("vault", "web", "dev")).await.hostname();
    let all = [
        "splunkdb1dev",
        "splunkdb2dev",
        "splunkweb1ci",
        "splunkweb1dev",
        "splunkweb2dev",
        "splunkweb3dev",
        "vaultweb1dev",
    ];
    assert_eq!(app.listed("").await, all);
    assert_eq!(app.listed("application=splunk").await, all[..6]);
    assert_eq!(app.listed("application=splunk&role=web").await, all[2..6]);
    assert_eq!(
        app.listed("application=splunk&role=web&environment=dev")
            .await,
        all[3..6]
    );
    assert_eq!(app.listed("application=nobody").await, [""; 0]);
}

#[tokio::test]
async fn what_a_dead_replica_left_is_finished_by_the_sweep_with_the_rights_that_are_shipped() {
    let vault = Vault::of(open_bao().await);
    let (bao, base) = (open_bao().await, "swept");
    let locks = lock_service().await.url();
    let service = vault.service(bao.address(), base, locks).await;
    let sweeping = service.env("HOSTNAME_SVC_SWEEP_INTERVAL", "1s");
    let sweeper = TestApp::with(sweeping).await;
    let dead = app(&vault, base).await;
    let body = wish("splunk", "web", "dev");
    // Killed before it has cleared away what it wrote last; a slow machine may leave it the time.
    let last = testbed::eventually("a death in time", Duration::from_secs(60), async || {
        dead.service.restart().await.unwrap();
        let last = dead.allocate(&body).await.counter();
        dead.service.kill().unwrap();
        let pending = vault.counter(base).await.pending;
        anyhow::ensure!(pending != json!([]), "nothing is pending");
        Ok(last)
    });
    let last = last.await.unwrap();
    // As if it had died a moment earlier.
    let record = format!("{base}/hosts/sp/splunkweb{last}dev");
    vault
        .call("DELETE", &format!("secret/metadata/{record}"), json!(null))
        .await;
    assert_eq!(
        vault.read(&format!("secret/data/{record}")).await,
        Value::Null
    );

    let swept = testbed::eventually("nothing is pending", Duration::from_secs(60), async || {
        let counter = vault.counter(base).await;
        anyhow::ensure!(counter.pending == json!([]), "{counter:?}");
        Ok(())
    });
    swept.await.unwrap();
    gap_free(&vault, base, last).await;
    sweeper.shows("hostname_recovered_entries_total 1").await;
}

#[tokio::test]
async fn a_document_at_the_place_of_a_record_takes_the_name_whatever_it_says() {
    let vault = Vault::of(open_bao().await);
    let app = app(&vault, "foreign").await;
    let body = wish("splunk", "web", "dev");
    for (name, data) in [
        ("splunkweb1dev", json!({ "note": "ordered by hand" })),
        ("splunkweb3dev", json!({})),
    ] {
        let written = json!({ "options": { "cas": 0 }, "data": data });
        let path = format!("secret/data/foreign/hosts/sp/{name}");
        vault.call("POST", &path, written).await;
    }
    assert_eq!(app.allocate(&body).await.hostname(), "splunkweb2dev");
    let keyed = app.allocate_with_key(&body, "k").await;
    assert_eq!(keyed.hostname(), "splunkweb4dev");
    assert_eq!(app.allocate_with_key(&body, "k").await.body, keyed.body);
    let skipped = Value::Object(vault.counter("foreign").await.skipped);
    let explained =
        json!({ "1": { "why": "taken", "next": 2 }, "3": { "why": "taken", "next": 4 } });
    assert_eq!(skipped, explained);
    app.get("/v1/hostnames/splunkweb1dev")
        .await
        .is_problem(404, "hostname-not-found");
    assert_eq!(app.listed("").await, ["splunkweb2dev", "splunkweb4dev"]);
    let untouched = vault
        .read("secret/data/foreign/hosts/sp/splunkweb1dev")
        .await;
    assert_eq!(untouched, json!({ "note": "ordered by hand" }));
}

#[tokio::test]
async fn a_counter_deleted_by_hand_is_not_begun_again_and_a_listing_says_so() {
    let vault = Vault::of(open_bao().await);
    let app = app(&vault, "deleted").await;
    let body = wish("splunk", "web", "dev");
    assert_eq!(app.allocate(&body).await.counter(), 1);
    assert_eq!(app.allocate(&wish("a", "b", "c")).await.counter(), 1);
    let counter = "secret/data/deleted/counters/splunk/web/dev";
    vault.call("DELETE", counter, json!(null)).await;
    app.allocate(&body)
        .await
        .is_problem(503, "document-deleted");
    assert_eq!(app.get("/v1/hostnames/splunkweb1dev").await.status, 200);
    let page = app.get("/v1/hostnames").await.body;
    assert_eq!(page["hostnames"][0]["hostname"], "ab1c");
    assert_eq!(page["deleted"], json!([body]));
}

#[tokio::test]
async fn a_counter_all_of_whose_versions_are_destroyed_does_not_begin_again() {
    let vault = Vault::of(open_bao().await);
    let app = app(&vault, "destroyed").await;
    let body = wish("splunk", "web", "dev");
    for counter in 1..=2 {
        assert_eq!(app.allocate(&body).await.counter(), counter);
    }
    // No write of the service's is to come after the destruction.
    app.service.terminate().await.unwrap();
    let counter = "destroyed/counters/splunk/web/dev";
    let metadata = format!("secret/metadata/{counter}");
    let metadata = vault.call("GET", &metadata, json!(null)).await;
    let versions: Vec<u64> = (1..=metadata["data"]["current_version"].as_u64().unwrap()).collect();
    let destroyed = json!({ "versions": versions });
    vault
        .call("POST", &format!("secret/destroy/{counter}"), destroyed)
        .await;
    app.service.restart().await.unwrap();
    for _ in 0..2 {
        let refused = app.allocate(&body).await;
        refused.is_problem(503, "document-deleted");
    }
    assert_eq!(app.get("/v1/hostnames/splunkweb2dev").await.counter(), 2);
    assert_eq!(vault.records("destroyed").await.len(), 2);
}

#[tokio::test]
async fn a_record_deleted_by_hand_is_told_as_such_and_keeps_its_name_taken() {
    let vault = Vault::of(open_bao().await);
    let app = app(&vault, "erased").await;
    let body = wish("splunk", "web", "dev");
    for counter in 1..=3 {
        assert_eq!(app.allocate(&body).await.counter(), counter);
    }
    let record = "erased/hosts/sp/splunkweb2dev";
    vault
        .call("DELETE", &format!("secret/data/{record}"), json!(null))
        .await;
    app.get("/v1/hostnames/splunkweb2dev")
        .await
        .is_problem(410, "record-deleted");
    let page = app.get("/v1/hostnames").await.body;
    let mut deleted = body.clone();
    deleted["counter"] = json!(2);
    deleted["hostname"] = json!("splunkweb2dev");
    assert_eq!(page["deleted"], json!([deleted]));
    assert_eq!(app.listed("").await, ["splunkweb1dev", "splunkweb3dev"]);
    assert_eq!(app.allocate(&body).await.counter(), 4);

    let versions = json!({ "versions": [1] });
    vault
        .call("POST", &format!("secret/undelete/{record}"), versions)
        .await;
    assert_eq!(app.get("/v1/hostnames/splunkweb2dev").await.counter(), 2);
    assert_eq!(app.listed("").await.len(), 4);
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_and_costs_no_number() {
    let vault = Vault::of(open_bao().await);
    let (bao, base) = (open_bao().await, "rightless");
    let locks = lock_service().await.url();
    let app = TestApp::with(vault.service(bao.address(), base, locks).await).await;
    let shipped = vault.shipped_policy(base);
    let rightless = shipped.replacen(r#"["create", "read"]"#, r#"["read"]"#, 1);
    assert_ne!(rightless, shipped);
    vault.put_policy(base, &rightless).await;
    let body = wish("splunk", "web", "dev");
    app.allocate(&body).await.is_problem(503, "store-refused");
    vault.put_policy(base, &shipped).await;
    let next = app.allocate(&body).await.counter();
    gap_free(&vault, base, next).await;
}

#[tokio::test]
async fn a_quota_of_vault_is_told_with_the_time_that_vault_asks_for() {
    let bao = OpenBao::start().await.unwrap();
    let vault = Vault::of(&bao);
    let locks = lock_service().await.url();
    let service = vault.service(bao.address(), "quota", locks).await;
    let app = TestApp::with(service.env("HOSTNAME_SVC_BUDGET", "5s")).await;
    let body = wish("splunk", "web", "dev");
    assert_eq!(app.allocate(&body).await.counter(), 1);
    let headers = json!({ "enable_rate_limit_response_headers": true });
    vault.call("POST", "sys/quotas/config", headers).await;
    let quota = json!({ "path": "secret", "rate": 1, "interval": "1h" });
    let rule = "sys/quotas/rate-limit/quota";
    vault.call("POST", rule, quota).await;

    // The quota lets one call through.
    app.get("/v1/hostnames/splunkweb1dev").await;
    for answer in [
        app.get("/v1/hostnames/splunkweb1dev").await,
        app.get("/v1/hostnames").await,
        app.allocate(&body).await,
    ] {
        answer.is_problem(503, "store-busy");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((60..=3600).contains(&seconds), "{seconds}");
    }
    vault.call("DELETE", rule, json!(null)).await;
    let next = testbed::eventually("hostnames again", Duration::from_secs(60), async || {
        let answer = app.allocate(&body).await;
        anyhow::ensure!(answer.status == 201, "{answer:?}");
        Ok(answer.counter())
    });
    gap_free(&vault, "quota", next.await.unwrap()).await;
}
