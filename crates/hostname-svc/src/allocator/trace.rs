//! Which trace the work of a task belongs to: a turn at the lock and a cycle serve many callers at once.
//!
//! Each is part of the trace of the caller who had waited longest when it began, and linked to the
//! traces of the others. So that caller's trace goes on to the lock service and to the store, and from
//! any other one a link leads there.

use opentelemetry::{
    Context,
    trace::{FutureExt, SpanContext, TraceContextExt},
};
use service_kit::telemetry::current_trace;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// As many links as OpenTelemetry keeps of a span.
const LINKS: usize = 128;

/// Where somebody who waits stands in his trace. The span itself is not kept: it ends with its request.
#[derive(Debug, Clone)]
pub(super) struct Caller(SpanContext);

impl Caller {
    /// Where the current task stands.
    pub(super) fn current() -> Self {
        Self(current_trace().span().span_context().clone())
    }
}

/// Does `work` in `span`, as part of the trace of the first of `callers` and linked to those of the others.
pub(super) async fn on_behalf_of<T>(
    callers: impl IntoIterator<Item = Caller>,
    span: Span,
    work: impl Future<Output = T>,
) -> T {
    let mut callers = callers.into_iter().filter(|caller| caller.0.is_valid());
    let mut trace = Context::new();
    if let Some(first) = callers.next() {
        trace = trace.with_remote_span_context(first.0);
        // Fails only when no OpenTelemetry layer is installed: then the context alone tells.
        let _ = span.set_parent(trace.clone());
    }
    for other in callers.take(LINKS) {
        span.add_link(other.0);
    }
    work.instrument(span).with_context(trace).await
}
