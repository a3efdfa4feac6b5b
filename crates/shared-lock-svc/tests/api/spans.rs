//! One trace from the caller to etcd, as a collector gets it.

use serde_json::json;
use testbed::{Collector, Span};

use crate::app::TestApp;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

#[tokio::test]
async fn an_acquire_is_one_trace_from_its_caller_to_what_etcd_was_asked() {
    let collector = Collector::start().unwrap();
    let (_etcd, app) = TestApp::on_etcd(&[("OTLP_ENDPOINT", &collector.url())]).await;
    let session = json!({ "holder": "me", "ttl_ms": 60_000 });
    let session = app.post("/v1/sessions", session).await;
    let wish = json!({ "holder": "me", "session_id": session.body["session_id"] });
    let acquire = format!("{}/v1/locks/jobs/acquire", app.service.url());
    let answer = reqwest::Client::new()
        .post(acquire)
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .json(&wish)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    app.service.terminate().await.unwrap();

    let spans = collector.spans();
    let trace: Vec<&Span> = spans.iter().filter(|span| span.trace_id == TRACE).collect();
    let named = |name: &str| {
        let found = trace.iter().find(|span| span.name == name);
        *found.unwrap_or_else(|| panic!("no {name} in {trace:#?}"))
    };
    let request = named("POST /v1/locks/{key}/acquire");
    assert_eq!(request.parent_id, CALLER);
    let proposal = named("etcd propose");
    assert_eq!(proposal.parent_id, request.span_id, "{trace:#?}");
    let transaction = named("etcd txn");
    assert_eq!(transaction.parent_id, proposal.span_id, "{trace:#?}");
    for span in &trace {
        assert_eq!(span.service, "shared-lock-svc");
        let above = trace.iter().any(|it| it.span_id == span.parent_id);
        assert!(
            above || span.parent_id == CALLER,
            "{span:?} hangs in the air"
        );
    }
}
