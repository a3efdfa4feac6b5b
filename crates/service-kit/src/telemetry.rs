//! Logs and traces.

use std::io::{self, IsTerminal};

use actix_web::http::Uri;
use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use serde::Deserialize;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings;

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
        let mut levels = levels.filter(|directive| !directive.contains(['=', ':', '[']));
        if levels.any(|level| level.parse::<LevelFilter>().is_err()) {
            return Err("expected a level, or directives of modules and levels");
        }
        match EnvFilter::try_new(&directives) {
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
    spans: SdkTracerProvider,
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
    let mut spans = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(service).build());
    if let Some(endpoint) = &settings.otlp_endpoint {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.0.trim_end_matches('/')))
            .build()?;
        spans = spans.with_batch_exporter(exporter);
    }
    let spans = spans.build();
    global::set_tracer_provider(spans.clone());
    global::set_text_map_propagator(TraceContextPropagator::new());

    let quiet = if quiet.is_empty() {
        String::new()
    } else {
        format!(",{quiet}")
    };
    let lines = EnvFilter::try_new(format!("{},{LIBRARIES}{quiet}", settings.log_level.0))?;
    // Whatever is logged: a trace must not end where the log is quiet, nor a line lose its trace id.
    let traced = || EnvFilter::try_new(format!("info{quiet}"));
    let lines = lines.or(traced()?.and(filter_fn(|about| about.is_span())));
    tracing_subscriber::registry()
        .with(log_layer(settings.log_format).with_filter(lines))
        .with(
            tracing_opentelemetry::layer()
                .with_tracer(spans.tracer(service))
                .with_filter(traced()?),
        )
        .try_init()?;
    Ok(Telemetry { spans })
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let terminal = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
        LogFormat::Auto if !terminal => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
        LogFormat::Auto | LogFormat::Text => lines.compact().with_ansi(terminal).boxed(),
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(err) = self.spans.shutdown() {
            tracing::warn!("spans were lost at shutdown: {err}");
        }
    }
}
