//! One trace from the caller through the service to the collector.

use service_kit::telemetry::{self, TelemetrySettings};
use testbed::Collector;

use crate::TestService;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

#[test]
fn a_callers_trace_is_joined_told_in_problems_and_sent_to_the_collector() {
    let collector = Collector::start().unwrap();
    let mut settings: TelemetrySettings = service_kit::settings::load("NOBODY_SETS_THIS", None)
        .unwrap()
        .settings;
    // What is logged is another matter.
    settings.log_level = "off".to_owned().try_into().unwrap();
    settings.otlp_endpoint = Some(collector.url().try_into().unwrap());
    let telemetry = telemetry::init("test-svc", &settings, "").unwrap();

    let body = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let service = TestService::start().await;
        let request = reqwest::Client::new().get(service.url("/teapot"));
        let response = request
            .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
            .send()
            .await
            .unwrap();
        response.json::<serde_json::Value>().await.unwrap()
    });
    assert_eq!(body["trace_id"], TRACE);

    drop(telemetry);
    let spans = collector.spans();
    let request = spans.iter().find(|span| span.name == "GET /teapot");
    let request = request.expect("the span is named by method and route");
    assert_eq!(request.service, "test-svc");
    assert_eq!(request.trace_id, TRACE, "it belongs to the caller's trace");
    assert_eq!(request.parent_id, CALLER);
}
