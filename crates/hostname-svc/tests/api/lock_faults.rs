//! When the lock service is away, silent, or gives odd tokens.

use std::time::Duration;

use lock_client::LockGuard;
use testbed::{FaultProxy, Service};

use crate::{
    app::{TestApp, embedded, keep_lock, lock_service, unique, wish},
    clock::{REFUSED, SILENT, within},
};

/// A service with some settings, and the lock of its prefix, which somebody else has.
async fn waiting(settings: &[(&str, &str)]) -> (TestApp, LockGuard) {
    let locks = lock_service().await;
    let keys = unique("kept");
    let service = embedded(locks.url()).env("HOSTNAME_SVC_LOCK_KEY_PREFIX", &*keys);
    let service = settings.iter().fold(service, |service, (name, value)| {
        service.env(&format!("HOSTNAME_SVC_{name}"), *value)
    });
    (TestApp::with(service).await, keep_lock(locks, &keys).await)
}

#[tokio::test]
async fn a_lock_service_that_is_away_or_silent_is_503_in_time_and_then_it_goes_on() {
    let proxy = FaultProxy::start(lock_service().await.url()).await.unwrap();
    let app = TestApp::with(embedded(&proxy.url())).await;
    let served = app.allocate(&wish("splunk", "web", "dev")).await;
    assert_eq!(served.counter(), 1);
    for (role, limit) in [("away", REFUSED), ("silent", SILENT)] {
        match role {
            "away" => proxy.refuse().await.unwrap(),
            _ => proxy.silent().await.unwrap(),
        }
        // Another prefix: the lock of the last one may still be held.
        let body = wish("splunk", role, "dev");
        within(limit, async || app.allocate(&body).await)
            .await
            .is_problem(503, "lock-unavailable");
        proxy.pass().await.unwrap();
        // The breaker may open after the caller was told, and only then notice that all is well.
        let served = testbed::eventually("a hostname", Duration::from_secs(60), async || {
            let answer = app.allocate(&body).await;
            anyhow::ensure!(answer.status == 201, "{answer:?}");
            Ok(answer.counter())
        });
        assert_eq!(served.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn one_silent_lock_server_of_two_is_passed_over() {
    let locks = lock_service().await.url();
    let proxy = FaultProxy::start(locks).await.unwrap();
    let both = format!("{},{locks}", proxy.url());
    let app = TestApp::with(embedded(locks).env("HOSTNAME_SVC_LOCK_URL", both)).await;
    proxy.silent().await.unwrap();
    let body = wish("splunk", "web", "dev");
    assert_eq!(app.allocate(&body).await.counter(), 1);
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
    app.reaches("locks").await;
    assert_eq!(app.allocate(&body).await.counter(), 4);
    app.shows("hostname_token_epoch_changes_total 1").await;
}

#[tokio::test]
async fn a_token_that_went_back_within_its_epoch_moves_no_counter() {
    let locks = Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "memory")
        .env("SHARED_LOCK_TOKEN_EPOCH", "never-changed");
    let locks = locks.start().await.unwrap();
    let app = TestApp::with(embedded(locks.url())).await;
    let body = wish("splunk", "web", "dev");
    // Two in a row may come under one lock, and after the restart two are tried.
    let mut given = 0;
    let mut token = 0_u64;
    while token < 3 {
        let answer = app.allocate(&body).await;
        given = answer.counter();
        let told = answer.body["lock"]["fencing_token"].as_str().unwrap();
        token = told.parse().unwrap();
    }
    locks.kill().unwrap();
    locks.restart().await.unwrap();
    app.reaches("locks").await;
    app.allocate(&body).await.is_problem(503, "lock-fenced");
    assert_eq!(app.listed("").await.len() as u64, given);
}

#[tokio::test]
async fn a_lock_that_somebody_else_keeps_is_503_when_the_time_is_over() {
    let (app, guard) = waiting(&[("BUDGET", "1s")]).await;
    let body = wish("splunk", "web", "dev");
    app.allocate(&body).await.is_problem(503, "lock-timeout");
    guard.release().await.unwrap();
    let served = testbed::eventually("a hostname", Duration::from_secs(60), async || {
        let answer = app.allocate(&body).await;
        anyhow::ensure!(answer.status == 201, "{answer:?}");
        Ok(answer.counter())
    });
    assert_eq!(served.await.unwrap(), 1);
}

#[tokio::test]
async fn a_time_beyond_what_the_lock_service_allows_is_told_by_its_name() {
    let locks = Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "memory")
        .env("SHARED_LOCK_MAX_WAIT", "2s");
    let locks = locks.start().await.unwrap();
    let app = TestApp::with(embedded(locks.url())).await;
    let refused = app.allocate(&wish("splunk", "web", "dev")).await;
    refused.is_problem(503, "lock-refused");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("wait_ms: must be a whole number from 0 to 2000"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_full_queue_is_429_and_whoever_waits_is_served() {
    let (app, guard) = waiting(&[("MAX_QUEUE", "5")]).await;
    let body = wish("splunk", "web", "dev");
    let calls = futures_util::future::join_all((0..20).map(|_| app.allocate(&body)));
    let release = async {
        app.is_waiting(5).await;
        app.shows(r#"hostname_allocations_total{result="queue_full"} 15"#)
            .await;
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
async fn who_hangs_up_leaves_his_place_in_the_queue_to_the_next_one() {
    let (app, guard) = waiting(&[("MAX_QUEUE", "1"), ("MAX_WAITING", "1")]).await;
    let body = wish("splunk", "web", "dev");
    tokio::select! {
        answer = app.allocate(&body) => panic!("{answer:?}"),
        () = app.is_waiting(1) => (),
    }
    app.is_waiting(0).await;
    let release = async {
        app.is_waiting(1).await;
        guard.release().await.unwrap();
    };
    let (answer, ()) = tokio::join!(app.allocate(&body), release);
    assert_eq!(answer.counter(), 1);
}
