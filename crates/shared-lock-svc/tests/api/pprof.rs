//! Profiles, where they are asked for.

use std::time::Duration;

use pprof::protos::{Message, Profile};
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_cpu_profile_is_served_as_go_reads_it() {
    let app = TestApp::with(&[("PPROF_ENABLED", "true")]).await;
    let index = app.get_text("/debug/pprof/").await;
    assert!(index.contains("href=\"profile?seconds=30\""), "{index}");
    let url = format!("{}/debug/pprof/profile?seconds=2", app.service.url());
    let taking = tokio::spawn(async move {
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/octet-stream");
        answer.bytes().await.unwrap()
    });
    // Something to see.
    for lock in 0.. {
        if taking.is_finished() {
            break;
        }
        let wish = json!({ "holder": "busy", "ttl_ms": 60_000 });
        assert_eq!(app.acquire(&format!("busy-{lock}"), wish).await.status, 201);
    }
    let profile = Profile::decode(taking.await.unwrap()).unwrap();
    let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
    let kinds: Vec<_> = profile
        .sample_type
        .iter()
        .map(|kind| (text(kind.ty), text(kind.unit)))
        .collect();
    assert_eq!(kinds, [("samples", "count"), ("cpu", "nanoseconds")]);
    assert!(!profile.sample.is_empty());
    let ours = profile
        .function
        .iter()
        .any(|function| text(function.name).contains("shared_lock_svc"));
    assert!(ours, "no function of ours is named");
}

#[tokio::test]
async fn one_profile_is_taken_at_a_time_and_not_for_ever() {
    let app = TestApp::with(&[("PPROF_ENABLED", "true")]).await;
    let get = |query: &str| {
        let url = format!("{}/debug/pprof/profile{query}", app.service.url());
        tokio::spawn(async move { reqwest::get(url).await.unwrap().status().as_u16() })
    };
    assert_eq!(get("?seconds=301").await.unwrap(), 400);
    let (first, second) = (get("?seconds=2"), get("?seconds=2"));
    let mut both = [first.await.unwrap(), second.await.unwrap()];
    both.sort_unstable();
    assert_eq!(both, [200, 500]);
    // A caller that leaves ends its profile, which would have taken half a minute.
    let left = get("");
    // Itself and the call that looks.
    let two = r#"http_server_active_requests{http_request_method="GET",url_scheme="http"} 2"#;
    testbed::eventually(
        "a profile is being taken",
        Duration::from_secs(10),
        async || match app.get_text("/metrics").await {
            metrics if metrics.contains(two) => Ok(()),
            metrics => Err(metrics),
        },
    )
    .await
    .unwrap();
    left.abort();
    testbed::eventually(
        "a profile is possible again",
        Duration::from_secs(5),
        async || match get("?seconds=1").await.unwrap() {
            200 => Ok(()),
            status => Err(status),
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn nothing_is_there_unless_it_is_asked_for() {
    let app = TestApp::start().await;
    for path in ["/debug/pprof/", "/debug/pprof/profile", "/debug/pprof/heap"] {
        assert_eq!(app.call("GET", path, "", "").await.status, 404, "{path}");
    }
}
