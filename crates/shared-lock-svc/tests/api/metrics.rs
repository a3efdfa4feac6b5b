//! `GET /metrics`: what is counted, and under which names.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;
use testbed::eventually;

use crate::{app::TestApp, sse::Events};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn acquires_hand_overs_and_events_are_counted_and_no_key_is_a_label() {
    let app = Arc::new(TestApp::start().await);
    let _listener = Events::open(&app, "/v1/events").await;
    let tenure = app.holds("secret-key", "me").await;
    let waiting = Arc::clone(&app);
    let waiter = tokio::spawn(async move {
        let wish = json!({
            "holder": "reader", "ttl_ms": 60_000, "wait_ms": 60_000, "mode": "shared",
        });
        waiting.acquire("secret-key", wish).await
    });
    app.queue_is("secret-key", 1, SOON).await;
    counts(
        &app,
        &["shared_lock_waiters 1", "shared_lock_event_streams 1"],
    )
    .await;
    app.gives_back("secret-key", &tenure).await;
    assert_eq!(waiter.await.unwrap().status, 201);
    app.acquire("secret-key", json!({ "holder": "x", "ttl_ms": 1000 }))
        .await;
    let session = app
        .post("/v1/sessions", json!({ "holder": "x", "ttl_ms": 1000 }))
        .await;
    let session = session.body["session_id"].as_str().unwrap();
    app.post_empty(&format!("/v1/sessions/{session}/keepalive"))
        .await;
    app.delete(&format!("/v1/sessions/{session}")).await;
    let claim = json!({ "request_id": tenure["request_id"] });
    app.post("/v1/locks/secret-key/verify", claim).await;
    app.delete("/v1/locks/secret-key").await;
    counts(
        &app,
        &[
            r#"shared_lock_acquire_wait_seconds_count{mode="exclusive",outcome="acquired"} 1"#,
            r#"shared_lock_acquire_wait_seconds_count{mode="exclusive",outcome="held"} 1"#,
            r#"shared_lock_acquire_wait_seconds_count{mode="shared",outcome="acquired"} 1"#,
            r#"shared_lock_events_total{event="acquired"} 2"#,
            r#"shared_lock_events_total{event="lost"} 1"#,
            r#"shared_lock_events_total{event="queued"} 1"#,
            r#"shared_lock_events_total{event="released"} 1"#,
            "shared_lock_hand_overs_total 1",
            "shared_lock_events_missed_total 0",
            r#"shared_lock_lock_operations_total{operation="force_release",outcome="ended"} 1"#,
            r#"shared_lock_lock_operations_total{operation="release",outcome="ended"} 1"#,
            r#"shared_lock_lock_operations_total{operation="verify",outcome="over"} 1"#,
            r#"shared_lock_lock_operations_total{operation="open_session",outcome="opened"} 1"#,
            r#"shared_lock_lock_operations_total{operation="keepalive_session",outcome="renewed"} 1"#,
            r#"shared_lock_lock_operations_total{operation="end_session",outcome="ended"} 1"#,
            "shared_lock_waiters 0",
        ],
    )
    .await;
    let metrics = app.get_text("/metrics").await;
    assert!(!metrics.contains("secret-key"), "{metrics}");
}

/// Waits until all these lines are there.
async fn counts(app: &TestApp, lines: &[&str]) {
    eventually("everything is counted", SOON, async || {
        let metrics = app.get_text("/metrics").await;
        let missing = |line: &&&str| !metrics.lines().any(|found| found == **line);
        match lines.iter().find(missing) {
            None => Ok(()),
            Some(line) => Err(format!("{line} is not in {metrics}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn every_metric_that_the_documentation_names_is_shown_and_no_other() {
    let settings = [("CACHE_ENABLED", "true"), ("AUDIT_LOG", "stdout")];
    let (_etcd, app) = TestApp::on_etcd(&settings).await;
    let tenure = app.holds("jobs", "me").await;
    assert_eq!(app.lease("", r#"{"key":"old"}"#).await.status, 201);
    assert_eq!(app.lease("", r#"{"key":"old"}"#).await.status, 202);
    app.gives_back("jobs", &tenure).await;

    let document = testbed::workspace_root().join("docs/operations.md");
    let document = std::fs::read_to_string(document).unwrap();
    let documented: BTreeSet<_> = words(&document)
        .filter(|word| word.starts_with("shared_lock_"))
        .map(str::to_owned)
        .collect();
    let shown = async || {
        let metrics = app.get_text("/metrics").await;
        let types = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "));
        let names = types.filter_map(|line| line.split(' ').next());
        names
            .filter(|name| name.starts_with("shared_lock_"))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    eventually("what is documented is shown", SOON, async || {
        match shown().await {
            shown if shown == documented => Ok(()),
            shown => Err(format!(
                "{:?}",
                documented.symmetric_difference(&shown).collect::<Vec<_>>()
            )),
        }
    })
    .await
    .unwrap();
}

/// Names as they stand in a text, each without what follows it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}
