//! When Vault is sealed, away, silent, or its answers get lost; and replicas that are paused or end.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{FaultProxy, OpenBao};

use crate::{
    app::{Answer, TestApp, keep_lock, lock_service, wish},
    clock::{REFUSED, SILENT, within},
    vault::{Vault, gap_free, open_bao},
};

#[tokio::test]
async fn vault_sealed_away_and_silent_are_told_apart_and_it_goes_on_afterwards() {
    let bao = OpenBao::start_raft().await.unwrap();
    let proxy = FaultProxy::start(bao.address()).await.unwrap();
    let vault = Vault::of(&bao);
    let service = vault
        .service(&proxy.url(), "faults", lock_service().await.url())
        .await;
    let app = TestApp::with(service).await;
    let body = wish("splunk", "web", "dev");
    assert_eq!(app.allocate(&body).await.counter(), 1);

    bao.seal().await.unwrap();
    within(REFUSED, async || app.allocate(&body).await)
        .await
        .is_problem(503, "vault-sealed");
    app.get("/v1/hostnames/splunkweb1dev")
        .await
        .is_problem(503, "vault-sealed");
    bao.unseal().await.unwrap();
    app.reaches("vault").await;

    proxy.refuse().await.unwrap();
    within(REFUSED, async || app.allocate(&body).await)
        .await
        .is_problem(503, "store-unavailable");
    within(REFUSED, async || {
        app.get("/v1/hostnames/splunkweb1dev").await
    })
    .await
    .is_problem(503, "store-unavailable");
    within(REFUSED, async || app.get("/v1/hostnames").await)
        .await
        .is_problem(503, "store-unavailable");
    proxy.silent().await.unwrap();
    within(SILENT, async || app.allocate(&body).await)
        .await
        .is_problem(503, "store-unavailable");
    assert_eq!(app.get("/livez").await.status, 200);
    let readiness = app.get("/readyz").await;
    readiness.is_problem(503, "not-ready");
    let checks = readiness.body["checks"].to_string();
    assert!(checks.contains("vault: "), "{checks}");
    proxy.pass().await.unwrap();

    let next = testbed::eventually("hostnames again", Duration::from_secs(60), async || {
        let answer = app.allocate(&body).await;
        anyhow::ensure!(answer.status == 201, "{answer:?}");
        Ok::<_, anyhow::Error>(answer.counter())
    });
    let next = next.await.unwrap();
    gap_free(&vault, "faults", next).await;
}

#[tokio::test]
async fn an_outage_is_warned_of_once_and_each_refusal_is_mere_information() {
    let locks = lock_service().await.url();
    let (vault, base) = (Vault::of(open_bao().await), "outage");
    let to_vault = FaultProxy::start(open_bao().await.address()).await.unwrap();
    let to_locks = FaultProxy::start(locks).await.unwrap();
    let service = vault.service(&to_vault.url(), base, &to_locks.url()).await;
    let app = TestApp::with(service).await;
    app.allocate(&wish("splunk", "web", "dev")).await.hostname();
    to_locks.refuse().await.unwrap();
    for role in ["a", "b", "c"] {
        let refused = app.allocate(&wish("splunk", role, "dev")).await;
        refused.is_problem(503, "lock-unavailable");
    }
    to_locks.pass().await.unwrap();
    app.reaches("locks").await;
    app.allocate(&wish("splunk", "a", "dev")).await.hostname();
    to_vault.refuse().await.unwrap();
    for _ in 0..3 {
        let refused = app.get("/v1/hostnames/splunkweb1dev").await;
        refused.is_problem(503, "store-unavailable");
    }
    // Nobody asks for the readiness: the service looks by itself.
    let log = app.service.logs();
    log.wait_for("vault is not ready", Duration::from_secs(60))
        .await
        .unwrap();
    to_vault.pass().await.unwrap();
    log.wait_for("vault is ready again", Duration::from_secs(60))
        .await
        .unwrap();

    let lines = |level: &str, text: &str| {
        let level = format!(r#""level":"{level}""#);
        let log = log.text();
        let found = log
            .lines()
            .filter(|line| line.contains(&level) && line.contains(text));
        found.count()
    };
    assert_eq!(lines("ERROR", ""), 0, "{}", log.text());
    assert_eq!(lines("WARN", "lock service"), 1, "{}", log.text());
    assert_eq!(lines("WARN", "vault"), 1, "{}", log.text());
    assert_eq!(lines("WARN", ""), 2, "{}", log.text());
    assert_eq!(lines("INFO", "answered 503 lock-unavailable"), 3);
    assert_eq!(lines("INFO", "answered 503 store-unavailable"), 3);
    assert_eq!(lines("INFO", "the lock service serves again"), 1);
}

#[tokio::test]
async fn an_answer_of_vault_that_gets_lost_costs_no_number() {
    let bao = open_bao().await;
    let vault = Vault::of(bao);
    for (lost, base) in [
        ("/counters/", "lost-counter"),
        ("/idem/", "lost-idem"),
        ("/hosts/", "lost-record"),
        ("/stems/", "lost-stem"),
    ] {
        let proxy = FaultProxy::start(bao.address()).await.unwrap();
        let app = TestApp::with(
            vault
                .service(&proxy.url(), base, lock_service().await.url())
                .await,
        )
        .await;
        let body = wish("splunk", "web", "dev");
        proxy.drop_answer_to(&format!("POST /v1/secret/data/{base}{lost}"));
        assert_eq!(
            app.allocate_with_key(&body, "one").await.counter(),
            1,
            "{lost}"
        );
        assert_eq!(proxy.answers_dropped(), 1, "{lost}");
        proxy.drop_answer_to(&format!("POST /v1/secret/data/{base}/counters/"));
        assert_eq!(app.allocate(&body).await.counter(), 2, "{lost}");
        gap_free(&vault, base, 2).await;
    }
}

#[tokio::test]
async fn a_vault_that_is_sealed_in_the_middle_of_a_batch_has_it_finished_when_it_is_open_again() {
    let bao = OpenBao::start_raft().await.unwrap();
    let proxy = FaultProxy::start(bao.address()).await.unwrap();
    let (vault, base) = (Vault::of(&bao), "sealed");
    let locks = lock_service().await.url();
    let service = vault.service(&proxy.url(), base, locks).await;
    // One record after the other, so that there is a middle.
    let app = TestApp::with(service.env("HOSTNAME_SVC_STORE_PARALLEL", "1")).await;
    let mut body = wish("splunk", "web", "dev");
    body["count"] = json!(50);
    let batch = async || app.post("/v1/hostnames:batch", &body, Some("batch")).await;

    proxy.hold_request(&format!(
        "POST /v1/secret/data/{base}/hosts/sp/splunkweb25dev"
    ));
    let seal = async {
        proxy.held(1).await;
        bao.seal().await.unwrap();
    };
    let (refused, ()) = tokio::join!(batch(), seal);
    refused.is_problem(503, "vault-sealed");
    bao.unseal().await.unwrap();
    assert_eq!(vault.records(base).await.len(), 24);

    app.reaches("vault").await;
    let told = batch().await;
    let names = (1..=50).map(|number| format!("splunkweb{number}dev"));
    assert_eq!(told.names("hostnames"), names.collect::<Vec<_>>());
    gap_free(&vault, base, 50).await;
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_passed_over_and_explained() {
    let bao = open_bao().await;
    let vault = Vault::of(bao);
    let base = "taken";
    let app = TestApp::with(
        vault
            .service(bao.address(), base, lock_service().await.url())
            .await,
    )
    .await;
    let body = wish("splunk", "web", "dev");
    let mut record = app.allocate(&body).await.body;
    record = vault
        .read("secret/data/taken/hosts/sp/splunkweb1dev")
        .await
        .as_object()
        .map_or(record, |it| json!(it));
    record["hostname"] = json!("splunkweb2dev");
    record["owner"] = json!({ "request": "somebody" });
    let written = json!({ "options": { "cas": 0 }, "data": record });
    vault
        .call("POST", "secret/data/taken/hosts/sp/splunkweb2dev", written)
        .await;
    assert_eq!(app.allocate(&body).await.hostname(), "splunkweb3dev");
    assert_eq!(
        app.allocate_with_key(&body, "k").await.hostname(),
        "splunkweb4dev"
    );
    let skipped = Value::Object(vault.counter("taken").await.skipped);
    assert_eq!(
        skipped,
        json!({ "2": { "why": "taken", "owner": { "request": "somebody" }, "next": 3 } })
    );
}

#[tokio::test]
async fn a_replica_that_is_told_to_end_answers_its_callers_and_gives_its_lock_back() {
    let vault = Vault::of(open_bao().await);
    let base = "ended";
    let locks = lock_service().await;
    let replica = async || {
        let address = open_bao().await.address();
        let service = vault.service(address, base, locks.url()).await;
        // Longer than anything here takes: who waits for its end has not been given the lock.
        TestApp::with(service.env("HOSTNAME_SVC_LOCK_TTL", "5m")).await
    };
    let (one, two) = (replica().await, replica().await);
    let body = wish("splunk", "web", "dev");
    let guard = keep_lock(locks, base).await;
    let calls = futures_util::future::join_all((0..100).map(|_| one.allocate(&body)));
    let end = async {
        one.is_waiting(100).await;
        let release = async {
            let log = one.service.logs();
            log.wait_for("shutting down", Duration::from_secs(60))
                .await
                .unwrap();
            guard.release().await.unwrap();
        };
        tokio::join!(one.service.terminate(), release).0.unwrap()
    };
    let (answers, status) = tokio::join!(calls, end);
    assert!(status.success(), "{status}");
    assert!(answers.iter().all(|answer| answer.status == 201));
    assert_eq!(two.allocate(&body).await.counter(), 101);
}

#[tokio::test]
async fn a_replica_that_is_paused_beyond_its_lock_gives_no_name_twice() {
    let bao = open_bao().await;
    let vault = Vault::of(bao);
    let base = "paused";
    let service = async || {
        let service = vault
            .service(bao.address(), base, lock_service().await.url())
            .await;
        TestApp::with(service.env("HOSTNAME_SVC_LOCK_TTL", "2s")).await
    };
    let (one, two) = (service().await, service().await);
    let body = wish("splunk", "web", "dev");
    let calls = futures_util::future::join_all((0..300).map(|_| one.allocate(&body)));
    let pause = async {
        let moved = testbed::eventually("the counter moves", Duration::from_secs(60), async || {
            let value = vault
                .read(&format!("secret/data/{base}/counters/splunk/web/dev"))
                .await;
            anyhow::ensure!(value["value"].is_u64(), "{value}");
            Ok(())
        });
        moved.await.unwrap();
        one.service.pause().unwrap();
        let other = two.allocate(&body).await;
        one.service.resume().unwrap();
        other
    };
    let (answers, other) = tokio::join!(calls, pause);
    let mut counters: Vec<_> = answers
        .iter()
        .chain([&other])
        .map(Answer::counter)
        .collect();
    counters.sort_unstable();
    assert_eq!(counters, (1..=301).collect::<Vec<_>>());
    gap_free(&vault, base, 301).await;
}

#[tokio::test]
async fn what_is_pending_is_cleared_away_when_nobody_asks_any_more() {
    let bao = open_bao().await;
    let vault = Vault::of(bao);
    let app = TestApp::with(
        vault
            .service(bao.address(), "idle", lock_service().await.url())
            .await,
    )
    .await;
    assert_eq!(
        app.allocate(&wish("splunk", "web", "dev")).await.counter(),
        1
    );
    let cleared = testbed::eventually("nothing is pending", Duration::from_secs(60), async || {
        let counter = vault.counter("idle").await;
        anyhow::ensure!(
            counter.value == 1 && counter.pending == json!([]),
            "{counter:?}"
        );
        Ok(())
    });
    cleared.await.unwrap();
}
