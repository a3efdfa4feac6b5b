//! The form of a log line: that of `tracing_subscriber`, with the trace that it belongs to.

use std::fmt;

use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultFields, Format, Json, Writer},
    },
    registry::LookupSpan,
};

use super::current_trace;

/// One JSON object, with the event's fields and `trace_id` at its top.
pub(super) struct Object(Format<Json>);

/// The fields of a line of text, and `trace_id`.
#[derive(Default)]
pub(super) struct Fields(DefaultFields);

impl Object {
    pub(super) fn of(format: Format<Json>) -> Self {
        let format = format.flatten_event(true);
        Self(format.with_current_span(false).with_span_list(false))
    }
}

impl<S, N> FormatEvent<S, N> for Object
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        match (trace_id(), line.trim_end().strip_suffix('}')) {
            (Some(trace_id), Some(open)) => {
                writeln!(writer, r#"{open},"trace_id":"{trace_id}"}}"#)
            }
            _ => writer.write_str(&line),
        }
    }
}

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        match trace_id() {
            Some(trace_id) => write!(writer, " trace_id={trace_id}"),
            None => Ok(()),
        }
    }
}

/// The trace that the current task belongs to.
fn trace_id() -> Option<String> {
    let trace = current_trace();
    let span = trace.span();
    let span = span.span_context();
    span.is_valid().then(|| span.trace_id().to_string())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use serde_json::Value;
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn lines(&self) -> Vec<String> {
            let written = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let own = |line: &&str| line.contains("side");
            written.lines().filter(own).map(str::to_owned).collect()
        }
    }

    #[test]
    fn a_line_tells_its_trace_where_there_is_one() {
        let (json, text) = (Written::default(), Written::default());
        let (to_json, to_text) = (json.clone(), text.clone());
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let subscriber = tracing_subscriber::registry()
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(false)
                    .json()
                    .map_event_format(Object::of)
                    .with_writer(move || to_json.clone()),
            )
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(false)
                    .compact()
                    .fmt_fields(Fields::default())
                    .with_writer(move || to_text.clone()),
            )
            .with(tracing_opentelemetry::layer().with_tracer(tracer));
        // As in a service: under a subscriber of one thread alone no layer sees the current span.
        tracing::subscriber::set_global_default(subscriber).unwrap();

        tracing::info!("outside");
        let span = tracing::info_span!("request");
        span.in_scope(|| tracing::info!(answer = 42, "inside"));
        let context = span.context();
        let trace_id = context.span().span_context().trace_id().to_string();

        let objects = json.lines().into_iter();
        let objects: Vec<Value> = objects
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect();
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0].get("trace_id"), None);
        assert_eq!(objects[1]["message"], "inside");
        assert_eq!(objects[1]["answer"], 42);
        assert_eq!(objects[1]["trace_id"], trace_id);
        let lines = text.lines();
        assert!(lines[0].ends_with("outside"), "{lines:?}");
        let end = format!("inside answer=42 trace_id={trace_id}");
        assert!(lines[1].ends_with(&end), "{lines:?}");
    }
}
