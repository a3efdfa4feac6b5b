//! `DELETE /v1/hostnames/{hostname}`.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use testbed::FaultProxy;

use crate::{
    app::{Answer, TestApp, lock_service, unique, wish},
    vault::{Vault, on_each_store, open_bao},
};

async fn retire(app: &TestApp, hostname: &str, query: &str) -> Answer {
    let path = format!("/v1/hostnames/{hostname}?{query}");
    app.send(Method::DELETE, &path, &json!(null), None).await
}

#[tokio::test]
async fn a_retired_hostname_keeps_its_record_and_its_name_and_says_why() {
    for app in on_each_store().await {
        let body = wish("splunk", "web", "dev");
        let created = app.allocate(&body).await;
        let retired = retire(
            &app,
            "splunkweb1dev",
            "reason=scrapped&requested_by=Zo%C3%AB",
        )
        .await;
        assert_eq!(retired.status, 200);
        let said = &retired.body["retired"];
        assert_eq!(
            (&said["reason"], &said["requested_by"]),
            (&json!("scrapped"), &json!("Zoë"))
        );
        assert!(said["retired_at"].is_string() && said["request_id"].is_string());
        let mut record = retired.body.clone();
        record.as_object_mut().unwrap().remove("retired");
        assert_eq!(record, created.body);

        assert_eq!(
            app.get("/v1/hostnames/splunkweb1dev").await.body,
            retired.body
        );
        assert_eq!(app.allocate(&body).await.hostname(), "splunkweb2dev");
        let listed = app.get("/v1/hostnames").await;
        assert_eq!(
            listed.names("hostnames"),
            ["splunkweb1dev", "splunkweb2dev"]
        );
        assert_eq!(listed.body["hostnames"][0], retired.body);
        assert!(listed.body["hostnames"][1].get("retired").is_none());
    }
}

#[tokio::test]
async fn of_many_retirements_the_first_one_counts() {
    for app in on_each_store().await {
        app.allocate(&wish("splunk", "web", "dev")).await.hostname();
        let queries: Vec<_> = (0..20)
            .map(|caller| format!("reason=caller-{caller}"))
            .collect();
        let answers = join_all(
            queries
                .iter()
                .map(|query| retire(&app, "splunkweb1dev", query)),
        )
        .await;
        for answer in &answers {
            assert_eq!(
                (answer.status.as_u16(), &answer.body),
                (200, &answers[0].body)
            );
        }
        let later = retire(&app, "splunkweb1dev", "reason=later").await;
        assert_eq!(later.body, answers[0].body);
    }
}

#[tokio::test]
async fn a_retirement_needs_a_hostname_that_was_given_out_and_a_reason() {
    let app = TestApp::start().await;
    retire(&app, "splunkweb1dev", "reason=x")
        .await
        .is_problem(404, "hostname-not-found");
    app.allocate(&wish("splunk", "web", "dev")).await.hostname();
    for (query, fields) in [
        ("", &["reason"][..]),
        ("reason=", &["reason"]),
        ("reason=a%00b", &["reason"]),
        ("reason=a&reason=b", &["reason"]),
        ("reason=a&requested_by=", &["requested_by"]),
        ("reason=a&force=1", &["force"]),
    ] {
        let refused = retire(&app, "splunkweb1dev", query).await;
        assert_eq!(refused.fields(), fields, "{query}");
    }
    let found = app.get("/v1/hostnames/splunkweb1dev").await;
    assert!(found.body.get("retired").is_none());
}

#[tokio::test]
async fn a_retirement_whose_answer_from_vault_is_lost_is_written_once_and_told() {
    let (bao, base) = (open_bao().await, unique("lost-retirement"));
    let proxy = FaultProxy::start(bao.address()).await.unwrap();
    let (vault, locks) = (Vault::of(bao), lock_service().await.url());
    let app = TestApp::with(vault.service(&proxy.url(), &base, locks).await).await;
    app.allocate(&wish("splunk", "web", "dev")).await.hostname();
    proxy.drop_answer_to(&format!("POST /v1/secret/data/{base}/retired/"));
    let retired = retire(&app, "splunkweb1dev", "reason=scrapped").await;
    assert_eq!(retired.status, 200, "{retired:?}");
    assert_eq!(proxy.answers_dropped(), 1);
    let path = format!("secret/data/{base}/retired/splunk/web/dev/splunkweb1dev");
    let written = vault.read(&path).await;
    assert_eq!(written["request_id"], retired.body["retired"]["request_id"]);
    proxy.refuse().await.unwrap();
    let refused = retire(&app, "splunkweb1dev", "reason=again").await;
    refused.is_problem(503, "store-unavailable");
}
