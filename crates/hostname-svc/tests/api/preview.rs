//! `GET /v1/hostnames:preview`.

use serde_json::json;

use crate::{
    app::{TestApp, lock_service, unique, wish},
    vault::{Vault, on_each_store, open_bao},
};

const QUERY: &str = "/v1/hostnames:preview?application=splunk&role=web&environment=dev";

#[tokio::test]
async fn a_preview_tells_the_next_names_and_writes_nothing() {
    for app in on_each_store().await {
        let preview = app.get(QUERY).await;
        assert_eq!(
            preview.body,
            json!({
                "application": "splunk", "role": "web", "environment": "dev", "reserved": false,
                "hostnames": [{ "counter": 1, "hostname": "splunkweb1dev" }],
            })
        );
        app.get("/v1/prefixes/splunk/web/dev")
            .await
            .is_problem(404, "prefix-not-found");
        let allocated = app.allocate(&wish("splunk", "web", "dev")).await;
        assert_eq!(allocated.hostname(), "splunkweb1dev");
        let preview = app.get(&format!("{QUERY}&count=2")).await;
        assert_eq!(
            preview.names("hostnames"),
            ["splunkweb2dev", "splunkweb3dev"]
        );
    }
}

#[tokio::test]
async fn a_preview_passes_over_names_that_somebody_else_has() {
    let (bao, base) = (open_bao().await, unique("previewed"));
    let vault = Vault::of(bao);
    let locks = lock_service().await.url();
    let app = TestApp::with(vault.service(bao.address(), &base, locks).await).await;
    let record = format!("secret/data/{base}/hosts/sp/splunkweb2dev");
    let written = json!({ "options": { "cas": 0 }, "data": {} });
    vault.call("POST", &record, written).await;
    let preview = app.get(&format!("{QUERY}&count=3")).await;
    let names = ["splunkweb1dev", "splunkweb3dev", "splunkweb4dev"];
    assert_eq!(preview.names("hostnames"), names);
    for name in names {
        let given = app.allocate(&wish("splunk", "web", "dev")).await;
        assert_eq!(given.hostname(), name);
    }
}

#[tokio::test]
async fn a_preview_is_refused_as_the_call_would_be() {
    let app = TestApp::start().await;
    for (query, fields) in [
        ("application=splunk&role=web", &["environment"][..]),
        ("application=splunk&role=web1&environment=dev", &["role"]),
        (
            "application=splunk&role=web&environment=dev&count=0",
            &["count"],
        ),
        (
            "application=splunk&role=web&environment=dev&count=x",
            &["count"],
        ),
        (
            "application=splunk&role=web&environment=dev&application=a",
            &["application"],
        ),
        (
            "application=splunk&role=web&environment=dev&cuont=1",
            &["cuont"],
        ),
    ] {
        let refused = app.get(&format!("/v1/hostnames:preview?{query}")).await;
        assert_eq!(refused.fields(), fields, "{query}");
    }
    app.allocate(&wish("splunkw", "eb", "dev")).await.hostname();
    app.get(QUERY).await.is_problem(409, "ambiguous-prefix");
    let long = format!(
        "/v1/hostnames:preview?application={}&role={}&environment=prod&count=10",
        "a".repeat(40),
        "b".repeat(18)
    );
    app.get(&long).await.is_problem(409, "prefix-exhausted");
}
