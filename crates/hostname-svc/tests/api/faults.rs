//! When something is down: an answer in time, never a wrong one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{FaultProxy, OpenBao, Service};

use crate::{
    app::{Answer, TestApp, embedded, lock_service, unique, wish},
    vault::{Vault, open_bao},
};

/// Calls and checks that the answer came in time.
async fn within(limit: Duration, call: impl Future<Output = Answer>) -> Answer {
    let started = Instant::now();
    let answer = call.await;
    let took = started.elapsed();
    assert!(took < limit, "it took {took:?}: {answer:?}");
    answer
}

/// A second, and what a busy machine adds to it.
const REFUSED: Duration = Duration::from_millis(1500);
/// Two seconds, and what a busy machine adds to them.
const SILENT: Duration = Duration::from_millis(2700);

#[tokio::test]
async fn a_lock_service_that_is_away_is_503_within_a_second() {
    let proxy = FaultProxy::start(lock_service().await.url()).await.unwrap();
    let app = TestApp::with(embedded(&proxy.url())).await;
    let served = app.allocate(&wish("splunk", "web", "dev")).await;
    assert_eq!(served.counter(), 1);
    proxy.refuse().await.unwrap();
    // Another prefix: the lock of the first one may still be held.
    let body = wish("splunk", "db", "dev");
    within(REFUSED, app.allocate(&body))
        .await
        .is_problem(503, "lock-unavailable");
    proxy.pass().await.unwrap();
    assert_eq!(app.allocate(&body).await.counter(), 1);
}

#[tokio::test]
async fn a_lock_service_that_is_silent_is_503_within_two_seconds() {
    let proxy = FaultProxy::start(lock_service().await.url()).await.unwrap();
    let app = TestApp::with(embedded(&proxy.url())).await;
    let served = app.allocate(&wish("splunk", "web", "dev")).await;
    assert_eq!(served.counter(), 1);
    proxy.silent().await.unwrap();
    // Another prefix: the lock of the first one may still be held.
    let body = wish("splunk", "db", "dev");
    within(SILENT, app.allocate(&body))
        .await
        .is_problem(503, "lock-unavailable");
    proxy.pass().await.unwrap();
    assert_eq!(app.allocate(&body).await.counter(), 1);
}

#[tokio::test]
async fn one_silent_lock_server_of_two_is_passed_over() {
    let locks = lock_service().await.url();
    let proxy = FaultProxy::start(locks).await.unwrap();
    let both = format!("{},{locks}", proxy.url());
    let app = TestApp::with(embedded(locks).env("HOSTNAME_SVC_LOCK_URL", both)).await;
    proxy.silent().await.unwrap();
    let body = wish("splunk", "web", "dev");
    let answer = within(Duration::from_secs(4), app.allocate(&body)).await;
    assert_eq!(answer.counter(), 1);
}

#[tokio::test]
async fn tokens_of_a_new_epoch_are_taken_and_counted() {
    let locks = Service::new("shared-lock-svc").env("SHARED_LOCK_STORAGE_TYPE", "memory");
    let locks = locks.start().await.unwrap();
    let app = TestApp::with(embedded(locks.url())).await;
    let body = wish("splunk", "web", "dev");
    for counter in 1..=3 {
        assert_eq!(app.allocate(&body).await.counter(), counter);
    }
    locks.kill().unwrap();
    locks.restart().await.unwrap();
    assert_eq!(app.allocate(&body).await.counter(), 4);
    let text = app
        .client
        .get(app.url("/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        text.contains("hostname_token_epoch_changes_total 1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_token_that_went_back_within_its_epoch_moves_no_counter() {
    let locks = Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "memory")
        .env("SHARED_LOCK_TOKEN_EPOCH", "never-changed");
    let locks = locks.start().await.unwrap();
    let app = TestApp::with(embedded(locks.url())).await;
    let body = wish("splunk", "web", "dev");
    for counter in 1..=3 {
        assert_eq!(app.allocate(&body).await.counter(), counter);
    }
    locks.kill().unwrap();
    locks.restart().await.unwrap();
    app.allocate(&body).await.is_problem(503, "lock-fenced");
    assert_eq!(app.listed("").await.len(), 3);
}

#[tokio::test]
async fn a_lock_that_somebody_else_keeps_is_503_when_the_time_is_over() {
    let locks = lock_service().await;
    let keys = unique("kept");
    let service = embedded(locks.url())
        .env("HOSTNAME_SVC_LOCK_KEY_PREFIX", &*keys)
        .env("HOSTNAME_SVC_BUDGET", "1s");
    let app = TestApp::with(service).await;
    let client =
        lock_client::LockClient::new(lock_client::ClientOptions::new([locks.url()], "somebody"))
            .unwrap();
    let key = format!("{keys}/splunk/web/dev");
    let guard = client
        .acquire(&key, lock_client::AcquireOptions::default())
        .await
        .unwrap();
    let body = wish("splunk", "web", "dev");
    within(Duration::from_secs(2), app.allocate(&body))
        .await
        .is_problem(503, "lock-timeout");
    guard.release().await.unwrap();
    assert_eq!(app.allocate(&body).await.counter(), 1);
}

#[tokio::test]
async fn a_full_queue_is_429_and_whoever_waits_is_served() {
    let locks = lock_service().await;
    let keys = unique("full");
    let service = embedded(locks.url())
        .env("HOSTNAME_SVC_LOCK_KEY_PREFIX", &*keys)
        .env("HOSTNAME_SVC_MAX_QUEUE", "5");
    let app = TestApp::with(service).await;
    let client =
        lock_client::LockClient::new(lock_client::ClientOptions::new([locks.url()], "somebody"))
            .unwrap();
    let key = format!("{keys}/splunk/web/dev");
    let guard = client
        .acquire(&key, lock_client::AcquireOptions::default())
        .await
        .unwrap();
    let body = wish("splunk", "web", "dev");
    let calls = futures_util::future::join_all((0..20).map(|_| app.allocate(&body)));
    let release = async {
        let metrics = app.url("/metrics");
        let full = testbed::eventually("the queue is full", Duration::from_secs(30), async || {
            let text = app.client.get(&metrics).send().await?.text().await?;
            let full = text.contains("hostname_queue_requests 5")
                && text.contains(r#"hostname_allocations_total{result="queue_full"} 15"#);
            anyhow::ensure!(full, "not yet");
            Ok(())
        });
        full.await.unwrap();
        guard.release().await.unwrap();
    };
    let (answers, ()) = tokio::join!(calls, release);
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((served.len(), refused.len()), (5, 15));
    refused
        .iter()
        .for_each(|answer| answer.is_problem(429, "queue-full"));
    assert_eq!(app.allocate(&body).await.counter(), 6);
}

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
    within(REFUSED, app.allocate(&body))
        .await
        .is_problem(503, "vault-sealed");
    app.get("/v1/hostnames/splunkweb1dev")
        .await
        .is_problem(503, "vault-sealed");
    bao.unseal().await.unwrap();

    proxy.refuse().await.unwrap();
    within(REFUSED, app.allocate(&body))
        .await
        .is_problem(503, "vault-unavailable");
    within(REFUSED, app.get("/v1/hostnames/splunkweb1dev"))
        .await
        .is_problem(503, "vault-unavailable");
    within(REFUSED, app.get("/v1/hostnames"))
        .await
        .is_problem(503, "vault-unavailable");
    proxy.silent().await.unwrap();
    within(SILENT, app.allocate(&body))
        .await
        .is_problem(503, "vault-unavailable");
    assert_eq!(app.get("/livez").await.status, 200);
    assert_eq!(app.get("/readyz").await.status, 503);
    proxy.pass().await.unwrap();

    let next = testbed::eventually("hostnames again", Duration::from_secs(20), async || {
        let answer = app.allocate(&body).await;
        anyhow::ensure!(answer.status == 201, "{answer:?}");
        Ok::<_, anyhow::Error>(answer.counter())
    });
    let next = next.await.unwrap();
    gap_free(&vault, "faults", next).await;
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
async fn a_counter_deleted_by_hand_is_not_begun_again() {
    let bao = open_bao().await;
    let vault = Vault::of(bao);
    let app = TestApp::with(
        vault
            .service(bao.address(), "deleted", lock_service().await.url())
            .await,
    )
    .await;
    let body = wish("splunk", "web", "dev");
    assert_eq!(app.allocate(&body).await.counter(), 1);
    vault
        .call(
            "DELETE",
            "secret/data/deleted/counters/splunk/web/dev",
            json!(null),
        )
        .await;
    app.allocate(&body)
        .await
        .is_problem(503, "document-deleted");
    assert_eq!(app.get("/v1/hostnames/splunkweb1dev").await.status, 200);
}

#[tokio::test]
async fn a_replica_that_is_told_to_end_answers_its_callers_and_gives_its_lock_back() {
    let bao = open_bao().await;
    let vault = Vault::of(bao);
    let base = "ended";
    let service = async || {
        vault
            .service(bao.address(), base, lock_service().await.url())
            .await
    };
    let (one, two) = (
        TestApp::with(service().await).await,
        TestApp::with(service().await).await,
    );
    let body = wish("splunk", "web", "dev");
    let locks = lock_client::ClientOptions::new([lock_service().await.url()], "somebody");
    let locks = lock_client::LockClient::new(locks).unwrap();
    let key = format!("{base}/splunk/web/dev");
    let guard = locks
        .acquire(&key, lock_client::AcquireOptions::default())
        .await
        .unwrap();
    let calls = futures_util::future::join_all((0..100).map(|_| one.allocate(&body)));
    let end = async {
        let metrics = one.url("/metrics");
        let waiting = testbed::eventually("callers wait", Duration::from_secs(20), async || {
            let text = one.client.get(&metrics).send().await?.text().await?;
            anyhow::ensure!(text.contains("hostname_queue_requests 100"), "{text}");
            Ok(())
        });
        waiting.await.unwrap();
        let release = async {
            let log = one.service.logs();
            log.wait_for("shutting down", Duration::from_secs(10))
                .await
                .unwrap();
            guard.release().await.unwrap();
        };
        tokio::join!(one.service.terminate(), release).0.unwrap()
    };
    let (answers, status) = tokio::join!(calls, end);
    assert!(status.success(), "{status}");
    assert!(answers.iter().all(|answer| answer.status == 201));
    let next = within(Duration::from_secs(2), two.allocate(&body)).await;
    assert_eq!(next.counter(), 101);
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
        let moved = testbed::eventually("the counter moves", Duration::from_secs(30), async || {
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
    let cleared = testbed::eventually("nothing is pending", Duration::from_secs(10), async || {
        let counter = vault.counter("idle").await;
        anyhow::ensure!(
            counter.value == 1 && counter.pending == json!([]),
            "{counter:?}"
        );
        Ok(())
    });
    cleared.await.unwrap();
}

/// Checks that each number up to `last` has a record or is skipped.
pub(crate) async fn gap_free(vault: &Vault, base: &str, last: u64) {
    let counter = vault.counter(base).await;
    let mut explained: Vec<u64> = vault
        .records(base)
        .await
        .iter()
        .map(|it| it["counter"].as_u64().unwrap())
        .collect();
    explained.extend(counter.skipped_numbers());
    explained.sort_unstable();
    assert_eq!(explained, (1..=last).collect::<Vec<_>>(), "{counter:?}");
}
