//! When a dependency goes away, every replica knows, whether it was asked or not.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testbed::{FaultProxy, OpenBao, Service};

use crate::{
    app::{Answer, TestApp, embedded, lock_service, wish},
    vault::{Vault, gap_free, open_bao},
};

/// What the first callers wait for a silent dependency: two seconds, and the way here and back.
const FIRST: Duration = Duration::from_millis(2500);
/// What later callers wait.
const AT_ONCE: Duration = Duration::from_millis(200);
/// From the end of an outage to hostnames.
const RECOVERED: Duration = Duration::from_secs(1);

async fn timed(app: &TestApp) -> (Duration, Answer) {
    timed_for(app, "web").await
}

async fn timed_for(app: &TestApp, role: &str) -> (Duration, Answer) {
    let asked = Instant::now();
    let answer = app.allocate(&wish("splunk", role, "dev")).await;
    (asked.elapsed(), answer)
}

#[tokio::test]
async fn three_replicas_are_told_of_a_vault_that_is_away_and_of_its_return() {
    let bao = open_bao().await;
    let proxy = FaultProxy::start(bao.address()).await.unwrap();
    let vault = Vault::of(bao);
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let locks = lock_service().await.url();
        let service = vault.service(&proxy.url(), "breaker", locks).await;
        replicas.push(TestApp::with(service).await);
    }
    assert_eq!(timed(&replicas[0]).await.1.counter(), 1);
    for fault in ["silent", "refuses"] {
        match fault {
            "silent" => proxy.silent().await.unwrap(),
            _ => proxy.refuse().await.unwrap(),
        }
        // All at once, for one prefix: two of three stand in the queue of its lock.
        for (took, answer) in join_all(replicas.iter().chain(&replicas).map(timed)).await {
            answer.is_problem(503, "store-unavailable");
            assert!(took < FIRST, "{fault}: {took:?}");
        }
        for app in &replicas {
            let (took, answer) = timed(app).await;
            answer.is_problem(503, "store-unavailable");
            assert!(took < AT_ONCE, "{fault}: {took:?}");
        }
        proxy.pass().await.unwrap();
        let returned = Instant::now();
        for app in &replicas {
            app.reaches("vault").await;
        }
        assert!(returned.elapsed() < RECOVERED, "{:?}", returned.elapsed());
        for (_, answer) in join_all(replicas.iter().map(timed)).await {
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }
    // Whoever was told 503 may have a number all the same: it has a record, as all have.
    let last = timed(&replicas[0]).await.1.counter();
    gap_free(&vault, "breaker", last).await;
}

#[tokio::test]
async fn a_silent_lock_service_is_found_once_and_not_by_every_caller() {
    let locks = Service::new("shared-lock-svc").env("SHARED_LOCK_STORAGE_TYPE", "memory");
    let locks = locks.start().await.unwrap();
    let app = TestApp::with(embedded(locks.url())).await;
    assert_eq!(timed(&app).await.1.counter(), 1);
    locks.pause().unwrap();
    // Of another prefix: the lock of the first may still be held.
    let (took, answer) = timed_for(&app, "db").await;
    answer.is_problem(503, "lock-unavailable");
    assert!(took < FIRST, "{took:?}");
    app.shows(r#"hostname_dependency_up{dependency="locks"} 0"#)
        .await;
    for _ in 0..3 {
        let (took, answer) = timed_for(&app, "db").await;
        answer.is_problem(503, "lock-unavailable");
        assert!(took < AT_ONCE, "{took:?}");
    }
    assert_eq!(app.listed("").await, ["splunkweb1dev"]);
    locks.resume().unwrap();
    app.reaches("locks").await;
    app.shows(r#"hostname_dependency_outages_total{dependency="locks"} 1"#)
        .await;
    assert_eq!(timed(&app).await.1.counter(), 2);
}

#[tokio::test]
async fn a_vault_that_refuses_our_token_makes_us_unready() {
    let bao = OpenBao::start().await.unwrap();
    let vault = Vault::of(&bao);
    let service = vault
        .service(bao.address(), "unready", lock_service().await.url())
        .await;
    let app = TestApp::with(service).await;
    let nothing_of_ours = r#"path "secret/data/other/*" { capabilities = ["read"] }"#;
    vault.put_policy("unready", nothing_of_ours).await;
    let told = testbed::eventually("it is not ready", Duration::from_secs(60), async || {
        let answer = app.get("/readyz").await;
        anyhow::ensure!(answer.status == 503, "{answer:?}");
        Ok(answer.body["checks"].to_string())
    });
    let told = told.await.unwrap();
    assert!(told.contains("permission denied"), "{told}");
}
