//! The tentens-tech/shared-lock wire: what its leases do.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep_until;

use crate::app::TestApp;

#[tokio::test]
async fn a_ttl_is_read_as_go_reads_it_and_the_one_granted_is_told() {
    let app = TestApp::start().await;
    for (number, (headers, granted)) in [
        ("", "10s"),
        ("x-lease-ttl: 60s\r\n", "60s"),
        ("X-LEASE-TTL: 60s\r\n", "60s"),
        ("x-lease-ttl:   1m30s  \r\n", "90s"),
        ("x-lease-ttl: 1.5h\r\n", "5400s"),
        ("x-lease-ttl: 3.9s\r\n", "3s"),
        ("x-lease-ttl: 1.9s\r\n", "2s"),
        ("x-lease-ttl: 500ms\r\n", "2s"),
        ("x-lease-ttl: 7\u{b5}s\r\n", "2s"),
        ("x-lease-ttl: -5s\r\n", "2s"),
        ("x-lease-ttl: 0\r\n", "2s"),
        ("x-lease-ttl: 60\r\n", "10s"),
        ("x-lease-ttl: \r\n", "10s"),
        ("x-lease-ttl: 1d\r\n", "10s"),
        ("x-lease-ttl: 10S\r\n", "10s"),
        ("x-lease-ttl: 1m 5s\r\n", "10s"),
        ("x-lease-ttl: 9999999h\r\n", "10s"),
        ("x-lease-ttl: 20s\r\nx-lease-ttl: 30s\r\n", "20s"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = app.lease(headers, format!(r#"{{"key":"{number}"}}"#)).await;
        assert_eq!(answer.status, 201, "{headers}");
        assert_eq!(
            answer.header("x-lease-ttl-granted"),
            Some(granted),
            "{headers}"
        );
        assert!(
            answer
                .header("x-fencing-token")
                .unwrap()
                .parse::<u64>()
                .unwrap()
                > 0
        );
    }
    let answer = app
        .lease("x-lease-ttl: 2562047h\r\n", r#"{"key":"absurd"}"#)
        .await;
    assert_eq!(
        (answer.status, &*answer.body),
        (500, ""),
        "longer than etcd's longest"
    );
    assert_eq!(app.lease("", r#"{"key":"absurd"}"#).await.status, 201);
}

#[tokio::test]
async fn a_lease_runs_out_unless_it_is_kept_alive() {
    let app = TestApp::start().await;
    let started = Instant::now();
    let short = "x-lease-ttl: 2s\r\n";
    let kept = app.lease(short, r#"{"key":"kept"}"#).await;
    let left = app.lease(short, r#"{"key":"left"}"#).await;
    for half_second in 1..=7 {
        sleep_until((started + half_second * Duration::from_millis(500)).into()).await;
        assert_eq!(app.prolong(&kept.body).await.status, 200);
    }
    let again = app.lease(short, r#"{"key":"kept"}"#).await;
    assert_eq!((again.status, again.body), (202, kept.body));
    assert_eq!(app.prolong(&left.body).await.status, 204);
    let next = app.lease(short, r#"{"key":"left"}"#).await;
    assert_eq!(next.status, 201);
    assert_ne!(next.body, left.body);
}

#[tokio::test]
async fn both_wires_exclude_each_other() {
    let app = TestApp::start().await;
    let lease = app
        .lease(
            "x-lease-ttl: 60s\r\n",
            r#"{"key":"jobs","value":"old client"}"#,
        )
        .await;
    let held = app
        .acquire("jobs", json!({ "holder": "new client", "ttl_ms": 1000 }))
        .await;
    assert_eq!(
        (held.status.as_u16(), &held.body["holder"]),
        (409, &json!("old client"))
    );
    let kept = app
        .keep_alive("jobs", json!({ "lease_id": lease.body }))
        .await;
    assert_eq!(kept.status, 200, "a lease is a lease");

    let tenure = app.holds("other", "new client").await;
    let accepted = app.lease("", r#"{"key":"other"}"#).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.body, tenure["lease_id"].as_str().unwrap());
    assert_eq!(app.prolong(&accepted.body).await.status, 200);

    let view = app.inspect("jobs").await;
    assert_eq!(view["holders"][0]["holder"], "old client");
    let odd = app.lease("", r#"{"key":"odd","value":"no\nholder"}"#).await;
    assert_eq!(odd.status, 201);
    assert_eq!(app.inspect("odd").await["holders"][0]["holder"], "unnamed");
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_is_told_created() {
    let app = TestApp::start().await;
    let asks = (0..50).map(|_| app.lease("x-lease-ttl: 60s\r\n", r#"{"key":"race"}"#));
    let answers = futures_util::future::join_all(asks).await;
    let created: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .collect();
    assert_eq!(created.len(), 1);
    for answer in &answers {
        assert_eq!(
            answer.body, created[0].body,
            "a loser is told the real holder"
        );
    }
}

#[tokio::test]
async fn operations_are_counted_once_each() {
    let app = TestApp::start().await;
    let id = app.lease("", "{}").await.body;
    app.lease("", "{}").await;
    app.lease("", "no json").await;
    app.lease("x-lease-ttl: 2562047h\r\n", r#"{"key":"absurd"}"#)
        .await;
    app.prolong(&id).await;
    app.prolong("1").await;
    app.prolong("no number").await;
    let metrics = app.get_text("/metrics").await;
    let counters: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("shared_lock_lease_operations_total"))
        .collect();
    assert_eq!(
        counters,
        [
            r#"shared_lock_lease_operations_total{operation="get",status="accepted"} 1"#,
            r#"shared_lock_lease_operations_total{operation="get",status="created"} 1"#,
            r#"shared_lock_lease_operations_total{operation="get",status="error"} 1"#,
            r#"shared_lock_lease_operations_total{operation="prolong",status="failure"} 1"#,
            r#"shared_lock_lease_operations_total{operation="prolong",status="success"} 1"#,
        ]
    );
    for line in [
        "# HELP shared_lock_lease_operations_total Total number of lease operations",
        "# HELP shared_lock_lease_grant_duration_seconds Duration of lease grant in seconds",
        r#"shared_lock_lease_grant_duration_seconds_count{operation="get"} 4"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
}
