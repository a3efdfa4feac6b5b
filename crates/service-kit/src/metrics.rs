//! Prometheus metrics: the registry, and the HTTP ones under their stable OpenTelemetry names.

use std::time::Instant;

use actix_web::http::StatusCode;
use prometheus::{
    HistogramOpts, HistogramVec, IntGaugeVec, Opts, Registry, process_collector::ProcessCollector,
};

/// Seconds; the boundaries that OpenTelemetry advises for HTTP durations.
pub const DURATION_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// A registry that already knows the process: CPU, memory, file descriptors.
///
/// # Errors
/// A metric of that name is there already.
pub fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Durations of requests, and how many are open.
pub(crate) struct HttpMetrics {
    duration: HistogramVec,
    active: IntGaugeVec,
}

impl HttpMetrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "http_server_request_duration_seconds",
                "Duration of HTTP server requests.",
            )
            .buckets(DURATION_BUCKETS.to_vec()),
            &[
                "http_request_method",
                "http_route",
                "http_response_status_code",
                "url_scheme",
            ],
        )?;
        let active = IntGaugeVec::new(
            Opts::new(
                "http_server_active_requests",
                "Number of HTTP server requests being answered.",
            ),
            &["http_request_method", "url_scheme"],
        )?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(active.clone()))?;
        Ok(Self { duration, active })
    }

    pub(crate) fn start(&self, method: &'static str, route: &str) -> RequestTimer {
        let active = self.active.with_label_values(&[method, "http"]);
        active.inc();
        RequestTimer {
            duration: self.duration.clone(),
            active,
            method,
            route: route.to_owned(),
            started: Instant::now(),
        }
    }
}

/// One open request; dropping it without an answer (the caller left) only ends its being open.
pub(crate) struct RequestTimer {
    duration: HistogramVec,
    active: prometheus::IntGauge,
    method: &'static str,
    route: String,
    started: Instant,
}

impl RequestTimer {
    pub(crate) fn stop(self, status: StatusCode) {
        self.duration
            .with_label_values(&[self.method, &self.route, status.as_str(), "http"])
            .observe(self.started.elapsed().as_secs_f64());
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        self.active.dec();
    }
}
