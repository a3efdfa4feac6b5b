//! Which trace the work of a task belongs to: a turn at the lock and a cycle serve many callers at once.
//!
//! Each is part of the trace of the caller who had waited longest when it began, and linked to the
//! traces of the others. So that caller's trace goes on to the lock service and to the store, and from
//! any other one a link leads there.

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// As many links as OpenTelemetry keeps of a span.
const LINKS: usize = 128;

/// Where somebody who waits stands in his trace. The span itself is not kept: it ends with its request.
#[derive(Debug, Clone)]
pub(super) struct Caller(SpanContext);

impl Caller {
    /// Where the current task stands.
    pub(super) fn current() -> Self {
        let context = Span::current().context();
        Self(context.span().span_context().clone())
    }
}

/// Makes `span` part of the trace of the first of `callers`, and links it to the others.
pub(super) fn join(span: &Span, callers: impl IntoIterator<Item = Caller>) {
    let mut callers = callers.into_iter().filter(|caller| caller.0.is_valid());
    if let Some(first) = callers.next() {
        let parent = Context::new().with_remote_span_context(first.0);
        // Fails only when no OpenTelemetry layer is installed: then there is no trace to join.
        let _ = span.set_parent(parent);
    }
    for other in callers.take(LINKS) {
        span.add_link(other.0);
    }
}
