//! The caller's trace goes along with every request.

use opentelemetry::{Context, global, propagation::Injector, trace::TraceContextExt};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The trace of the current span, or else of the current OpenTelemetry context, in the form that the
/// process has chosen (W3C `traceparent` as a rule).
pub(crate) fn trace_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut context = Span::current().context();
    if !context.span().span_context().is_valid() {
        context = Context::current();
    }
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut Headers(&mut headers))
    });
    headers
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
