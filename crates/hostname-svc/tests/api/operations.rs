//! Hostnames that nobody waits for.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testbed::FaultProxy;

use crate::{
    app::{Answer, TestApp, lock_service, unique, wish},
    vault::{Vault, gap_free, on_each_store, open_bao},
};

async fn begin(app: &TestApp, path: &str, body: &Value, key: Option<&str>) -> String {
    let request = app.client.request(Method::POST, app.url(path)).json(body);
    let request = request.header("Prefer", "wait=5, respond-async");
    let request = match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    };
    let answer = app.answer(request).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.body["status"], "running");
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    let place = answer.header("location").unwrap();
    assert_eq!(
        place,
        format!("/v1/operations/{}", answer.body["id"].as_str().unwrap())
    );
    place.to_owned()
}

/// What an operation says when it has ended.
async fn ended(app: &TestApp, place: &str) -> Answer {
    let ended = testbed::eventually(place, Duration::from_secs(60), async || {
        let answer = app.get(place).await;
        anyhow::ensure!(
            answer.status == 200 && answer.body["status"] != "running",
            "{answer:?}"
        );
        Ok::<_, anyhow::Error>(answer)
    });
    ended.await.unwrap()
}

#[tokio::test]
async fn an_operation_ends_with_what_the_call_would_have_been_answered() {
    for app in on_each_store().await {
        let mut body = wish("splunk", "web", "dev");
        let one = begin(&app, "/v1/hostnames", &body, None).await;
        let one = ended(&app, &one).await;
        assert_eq!(one.names("hostnames"), ["splunkweb1dev"]);
        assert_eq!(one.body["status"], "done");
        assert_eq!(one.header("retry-after"), None);

        body["count"] = json!(3);
        let batch = begin(&app, "/v1/hostnames:batch", &body, Some("k")).await;
        let names = ["splunkweb2dev", "splunkweb3dev", "splunkweb4dev"];
        assert_eq!(ended(&app, &batch).await.names("hostnames"), names);
        // Its key is the caller's: he may also wait.
        let again = app.post("/v1/hostnames:batch", &body, Some("k")).await;
        assert_eq!(again.names("hostnames"), names);
        body["count"] = json!(2);
        let reused = begin(&app, "/v1/hostnames:batch", &body, Some("k")).await;
        let reused = ended(&app, &reused).await.body;
        assert_eq!(
            (&reused["status"], &reused["problem"]["code"]),
            (&json!("failed"), &json!("idempotency-key-reused"))
        );

        let passed = json!({ "application": "splunk", "role": "web", "environment": "dev", "counters": [2] });
        let passed = begin(&app, "/v1/hostnames:import", &passed, None).await;
        assert_eq!(
            ended(&app, &passed).await.body["problem"]["code"],
            "number-passed"
        );
        for unknown in [
            "x",
            "0198a2b0-0000-7000-8000-000000000000",
            "4a8f0f1e-0000-4000-8000-000000000000",
        ] {
            app.get(&format!("/v1/operations/{unknown}"))
                .await
                .is_problem(404, "operation-not-found");
        }
    }
}

#[tokio::test]
async fn an_operation_outlives_the_replica_that_took_it() {
    let (vault, base) = (Vault::of(open_bao().await), unique("operations"));
    let locks = FaultProxy::start(lock_service().await.url()).await.unwrap();
    let address = open_bao().await.address();
    let app = TestApp::with(vault.service(address, &base, &locks.url()).await).await;
    // Without locks it can be begun and not be ended.
    locks.refuse().await.unwrap();
    let body = wish("splunk", "web", "dev");
    let place = begin(&app, "/v1/hostnames", &body, Some("k")).await;
    app.service.kill().unwrap();

    locks.pass().await.unwrap();
    app.service.restart().await.unwrap();
    assert_eq!(
        ended(&app, &place).await.names("hostnames"),
        ["splunkweb1dev"]
    );
    assert_eq!(
        app.allocate_with_key(&body, "k").await.hostname(),
        "splunkweb1dev"
    );
    gap_free(&vault, &base, 1).await;
}
