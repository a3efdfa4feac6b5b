//! Going on by check-and-set alone while the lock service is away, where the settings say so.

use futures_util::future::join_all;
use serde_json::Value;
use testbed::FaultProxy;

use crate::{
    app::{TestApp, lock_service, unique, wish},
    clock::{SILENT, within},
    vault::{Vault, gap_free, open_bao},
};

/// Two replicas that go on without locks, and what stands between them and the lock service.
async fn replicas(vault: &Vault, base: &str) -> (FaultProxy, TestApp, TestApp) {
    let locks = FaultProxy::start(lock_service().await.url()).await.unwrap();
    let replica = async || {
        let (address, locks) = (open_bao().await.address(), locks.url());
        let service = vault.service(address, base, &locks).await;
        TestApp::with(service.env("HOSTNAME_SVC_LOCK_OUTAGE", "go-on")).await
    };
    let (one, two) = (replica().await, replica().await);
    (locks, one, two)
}

#[tokio::test]
async fn replicas_without_a_lock_service_give_no_name_twice_and_say_so() {
    let (vault, base) = (Vault::of(open_bao().await), unique("unlocked"));
    let (locks, one, two) = replicas(&vault, &base).await;
    let body = wish("splunk", "web", "dev");
    let before = one.allocate(&body).await;
    assert!(before.body["lock"]["fencing_token"].is_string());

    locks.refuse().await.unwrap();
    let calls = (0..200).map(|call| {
        let app = if call % 2 == 0 { &one } else { &two };
        app.allocate(&body)
    });
    let answers = join_all(calls).await;
    let mut counters: Vec<_> = answers.iter().map(|answer| answer.counter()).collect();
    counters.sort_unstable();
    assert_eq!(counters, (2..=201).collect::<Vec<_>>());
    for answer in &answers {
        assert_eq!(answer.body["lock"], Value::Null);
    }
    let found = two.get("/v1/hostnames/splunkweb2dev").await;
    assert_eq!(found.body["lock"], Value::Null);
    let metrics = one.metrics().await;
    let counted = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.is_some_and(|line| !line.ends_with(" 0"))
    };
    assert!(counted("hostname_turns_without_lock_total"), "{metrics}");
    assert!(
        counted("hostname_lock_failures_total{why=\"unavailable\"}"),
        "{metrics}"
    );

    locks.pass().await.unwrap();
    one.reaches("locks").await;
    let after = one.allocate(&body).await;
    assert_eq!(after.counter(), 202);
    let token = |body: &Value| -> u64 {
        let text = body["lock"]["fencing_token"].as_str().unwrap();
        text.parse().unwrap()
    };
    assert!(token(&after.body) > token(&before.body));
    gap_free(&vault, &base, 202).await;
}

#[tokio::test]
async fn a_silent_lock_service_is_waited_for_once() {
    let (vault, base) = (Vault::of(open_bao().await), unique("unheard"));
    let (locks, one, _two) = replicas(&vault, &base).await;
    locks.silent().await.unwrap();
    let body = wish("splunk", "web", "dev");
    for counter in 1..=3 {
        let given = within(SILENT, async || one.allocate(&body).await).await;
        assert_eq!(given.counter(), counter);
    }
    gap_free(&vault, &base, 3).await;
}
