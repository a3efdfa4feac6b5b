//! One trace from the caller through the lock service.

use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::scripted::{Reply, Scripted, for_ttl};

#[tokio::test]
async fn the_trace_of_the_caller_goes_along_with_acquire_and_release() {
    let ttl = Duration::from_secs(10);
    let server = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, ttl),
        _ => Reply::released(true),
    })
    .await;
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    // With one subscriber alone, a span that another test's thread meets first is off for good.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    let span = info_span!("caller");
    let trace = span.context().span().span_context().trace_id().to_string();
    async {
        let guard = server.client().acquire("k", for_ttl(ttl)).await.unwrap();
        drop(guard);
    }
    .instrument(span)
    .await;

    server.wait_for("release", 1).await;
    for action in ["acquire", "release"] {
        let parent = &server.requests(action)[0].headers["traceparent"];
        assert_eq!(
            parent.split('-').nth(1),
            Some(trace.as_str()),
            "{action}: {parent}"
        );
    }
}
