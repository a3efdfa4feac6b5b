//! `POST /v1/hostnames` and `GET /v1/hostnames/{hostname}`.

use serde_json::json;

use crate::app::{TestApp, wish};

#[tokio::test]
async fn the_first_hostname_of_a_prefix_has_counter_one() {
    let app = TestApp::start().await;
    let answer = app.allocate(&wish("splunk", "web", "dev")).await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.header("location"),
        Some("/v1/hostnames/splunkweb1dev")
    );
    let body = &answer.body;
    assert_eq!(body["hostname"], "splunkweb1dev");
    assert_eq!(body["application"], "splunk");
    assert_eq!(body["role"], "web");
    assert_eq!(body["counter"], 1);
    assert_eq!(body["environment"], "dev");
    let created: jiff::Timestamp = body["created_at"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(created).as_secs() < 60);
    assert!(!body["request_id"].as_str().unwrap().is_empty());
    let token: u64 = body["lock"]["fencing_token"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(token > 0);
    assert!(!body["lock"]["token_epoch"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn each_prefix_counts_for_itself() {
    let app = TestApp::start().await;
    for (environment, name) in [
        ("dev", "web-appx1dev"),
        ("prod", "web-appx1prod"),
        ("dev", "web-appx2dev"),
    ] {
        let answer = app.allocate(&wish("web-app", "x", environment)).await;
        assert_eq!(answer.hostname(), name);
    }
}

#[tokio::test]
async fn what_the_caller_said_is_kept_in_the_record() {
    let app = TestApp::start().await;
    let mut body = wish("splunk", "web", "dev");
    body["requested_by"] = json!("Zoë");
    body["reason"] = json!("a new indexer");
    body["labels"] = json!({ "team": "search", "example.org/cost-centre": "12" });
    let created = app.allocate(&body).await;
    let found = app.get("/v1/hostnames/splunkweb1dev").await;
    assert_eq!(found.status, 200);
    assert_eq!(found.body, created.body);
    for field in ["requested_by", "reason", "labels"] {
        assert_eq!(found.body[field], body[field]);
    }
}

#[tokio::test]
async fn a_hostname_that_was_never_given_out_is_not_found() {
    let app = TestApp::start().await;
    app.get("/v1/hostnames/splunkweb1dev")
        .await
        .is_problem(404, "hostname-not-found");
    let refused = app.get("/v1/hostnames/Splunk%00").await;
    assert_eq!(refused.fields(), ["hostname"]);
    let refused = app.get(&format!("/v1/hostnames/{}", "a".repeat(64))).await;
    assert_eq!(refused.fields(), ["hostname"]);
}

#[tokio::test]
async fn a_prefix_that_could_not_be_told_from_another_is_refused_with_its_owner() {
    let app = TestApp::start().await;
    assert_eq!(
        app.allocate(&wish("web", "app", "dev")).await.hostname(),
        "webapp1dev"
    );
    let refused = app.allocate(&wish("we", "bapp", "dev")).await;
    refused.is_problem(409, "ambiguous-prefix");
    assert_eq!(
        refused.body["owner"],
        json!({ "application": "web", "role": "app" })
    );
    assert_eq!(
        app.allocate(&wish("we", "bapp", "prod")).await.hostname(),
        "webapp1prod"
    );
    app.allocate(&wish("web", "app", "prod"))
        .await
        .is_problem(409, "ambiguous-prefix");
    assert_eq!(
        app.allocate(&wish("web", "app", "dev")).await.hostname(),
        "webapp2dev"
    );
}

#[tokio::test]
async fn a_label_is_filled_to_its_last_character_and_not_beyond() {
    let app = TestApp::start().await;
    let full = wish(&"a".repeat(40), &"b".repeat(18), "prod");
    for counter in 1..=9 {
        let answer = app.allocate(&full).await;
        assert_eq!((answer.hostname().len(), answer.counter()), (63, counter));
    }
    app.allocate(&full)
        .await
        .is_problem(409, "prefix-exhausted");
    let refused = app
        .allocate(&wish(&"a".repeat(40), &"b".repeat(19), "prod"))
        .await;
    assert_eq!(refused.fields(), ["application"]);
}

#[tokio::test]
async fn callers_at_once_get_different_names_without_a_gap() {
    let app = TestApp::start().await;
    let body = wish("splunk", "web", "dev");
    let calls = (0..200).map(|_| app.allocate(&body));
    let mut counters: Vec<_> = futures_util::future::join_all(calls)
        .await
        .iter()
        .map(|it| it.counter())
        .collect();
    counters.sort_unstable();
    assert_eq!(counters, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_metrics_tell_what_was_done() {
    let app = TestApp::start().await;
    app.allocate(&wish("splunk", "web", "dev")).await;
    let text = app
        .client
        .get(app.url("/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        r#"hostname_allocations_total{result="created"} 1"#,
        "hostname_batch_requests_count 1",
        "hostname_queue_requests 0",
        "hostname_counter_conflicts_total 0",
        r#"hostname_store_operation_duration_seconds_count{operation="write",outcome="ok"} 3"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
