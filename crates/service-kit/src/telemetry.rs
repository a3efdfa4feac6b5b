//! Logs and traces.

use std::io::{self, IsTerminal};

use actix_web::http::Uri;
use opentelemetry::{
    Context, global,
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use serde::Deserialize;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, LevelFilter, Targets, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings;

mod lines;

settings! {
    /// What a process tells of itself.
    pub struct TelemetrySettings {
        /// Least level of the log lines written to standard error, or directives per module.
        pub log_level: LogLevel => Setting::env("LOG_LEVEL").default("info")
            .allowed("`error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,hyper=warn`"),
        /// Form of the log lines; `auto` is text on a terminal, else JSON.
        pub log_format: LogFormat => Setting::env("LOG_FORMAT").default("auto").allowed("`auto`, `json` or `text`"),
        /// Collector for spans, OTLP over HTTP, such as `http://localhost:4318`; none are sent without it.
        pub otlp_endpoint: Option<HttpUrl> => Setting::env("OTLP_ENDPOINT").allowed("an http or https URL"),
    }
}

/// Directives of what to log.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct LogLevel(String);

impl TryFrom<String> for LogLevel {
    type Error = &'static str;

    fn try_from(directives: String) -> Result<Self, Self::Error> {
        // A word alone is taken as the name of a module, with nothing else logged.
        let levels = directives.split(',').map(str::trim);
        let mut levels = levels.filter(|directive| !directive.contains(['=', ':']));
        if levels.any(|level| level.parse::<LevelFilter>().is_err()) {
            return Err("expected a level, or directives of modules and levels");
        }
        match directives.parse::<Targets>() {
            Ok(_) => Ok(Self(directives)),
            Err(_) => Err("expected a level, or directives of modules and levels"),
        }
    }
}

/// An `http` or `https` URL.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpUrl(String);

impl TryFrom<String> for HttpUrl {
    type Error = &'static str;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        match url.parse::<Uri>() {
            Ok(parsed)
                if matches!(parsed.scheme_str(), Some("http" | "https"))
                    && parsed.host().is_some() =>
            {
                Ok(Self(url))
            }
            _ => Err("expected an http or https URL"),
        }
    }
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What the HTTP libraries may log, whatever the level is: they tell every caller's rubbish as an error.
const LIBRARIES: &str = "actix_server=warn,actix_http::h1=off";

/// Sends what spans are left when it is dropped.
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

/// Starts logs and traces. `quiet` are directives that hold whatever the level is.
///
/// Call it outside of any async runtime: the exporter's client brings its own.
///
/// # Errors
/// The level or the collector's address cannot be used.
pub fn init(
    service: &'static str,
    settings: &TelemetrySettings,
    quiet: &str,
) -> anyhow::Result<Telemetry> {
    // Without a collector there are no spans: a trace goes through as the context of the task.
    let spans = match &settings.otlp_endpoint {
        Some(endpoint) => Some(exported(service, endpoint)?),
        None => None,
    };
    global::set_text_map_propagator(TraceContextPropagator::new());

    let quiet = Some(quiet).filter(|quiet| !quiet.is_empty());
    let directives = |level: &str| {
        let all = [level, LIBRARIES].into_iter().chain(quiet);
        all.collect::<Vec<_>>().join(",").parse::<Targets>()
    };
    // A trace does not end where the log is quiet, nor does a line lose its trace id.
    let (lines, traced) = (directives(&settings.log_level.0)?, directives("info")?);
    let lines =
        log_layer(settings.log_format).with_filter(lines.and(filter_fn(|it| it.is_event())));
    // Not an absent layer beside it: that would keep all spans enabled.
    let mut layers = vec![lines.boxed()];
    layers.extend(spans.as_ref().map(|spans| {
        tracing_opentelemetry::layer()
            .with_tracer(spans.tracer(service))
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(traced)
            .boxed()
    }));
    tracing_subscriber::registry().with(layers).try_init()?;
    Ok(Telemetry { spans })
}

/// Spans on their way to a collector.
fn exported(service: &'static str, collector: &HttpUrl) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", collector.0.trim_end_matches('/')))
        .build()?;
    let spans = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_batch_exporter(exporter)
        .build();
    global::set_tracer_provider(spans.clone());
    Ok(spans)
}

/// The trace that the current task belongs to: that of its span, or the one that goes through this
/// process unrecorded.
pub fn current_trace() -> Context {
    let of_span = Span::current().context();
    match of_span.span().span_context().is_valid() {
        true => of_span,
        false => Context::current(),
    }
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let terminal = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    if text {
        let lines = lines.compact().with_ansi(terminal);
        lines.fmt_fields(lines::Fields::default()).boxed()
    } else {
        lines.json().map_event_format(lines::Object::of).boxed()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Err(err)) = self.spans.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!("spans were lost at shutdown: {err}");
        }
    }
}
