//! One trace from the caller through the service to the collector.

use service_kit::telemetry::{self, TelemetrySettings};

use crate::{TestService, collector::Collector};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[test]
fn a_callers_trace_is_joined_told_in_problems_and_sent_to_the_collector() {
    let collector = Collector::start();
    let mut settings: TelemetrySettings = service_kit::settings::load("NOBODY_SETS_THIS", None)
        .unwrap()
        .settings;
    settings.otlp_endpoint = Some(format!("http://{}", collector.address).try_into().unwrap());
    let telemetry = telemetry::init("test-svc", &settings, "").unwrap();

    let body = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let service = TestService::start().await;
        let request = reqwest::Client::new().get(service.url("/teapot"));
        let response = request
            .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
            .send()
            .await
            .unwrap();
        response.json::<serde_json::Value>().await.unwrap()
    });
    assert_eq!(body["trace_id"], TRACE);

    drop(telemetry);
    let (request, spans) = collector.received();
    assert_eq!(request, "post /v1/traces http/1.1");
    let id: Vec<u8> = (0..16)
        .map(|i| u8::from_str_radix(&TRACE[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    assert!(
        spans.windows(16).any(|bytes| bytes == id),
        "the span belongs to the caller's trace"
    );
    assert!(
        spans.windows(11).any(|bytes| bytes == b"GET /teapot"),
        "the span is named by method and route"
    );
}
