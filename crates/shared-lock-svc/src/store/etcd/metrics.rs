//! What is counted of the work with etcd.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tokio::time::Instant;

use super::fault::Fault;

/// Seconds; from a read in the leader's memory to a call that nobody should wait for.
const CALLS: [f64; 13] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Proposals in one transaction, up to the most that there may be.
const BATCHES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 120.0];

/// Calls, batches, spare leases, streams and the watch of one replica.
#[derive(Clone)]
pub struct EtcdMetrics {
    calls: HistogramVec,
    pub(super) batch_size: Histogram,
    pub(super) transactions: IntGauge,
    pub(super) spares: IntGauge,
    tenure_leases: IntCounterVec,
    pub(super) keepalive_streams: IntGauge,
    pub(super) out_of_space: IntGauge,
    watch: WatchLag,
}

impl EtcdMetrics {
    /// Makes them; nobody sees them yet.
    ///
    /// # Errors
    /// A name or a bucket is not what Prometheus knows.
    pub fn new() -> prometheus::Result<Self> {
        let calls = HistogramOpts::new(
            "shared_lock_etcd_call_duration_seconds",
            "Time from a call of etcd to its answer or its failure.",
        );
        let batch_size = HistogramOpts::new(
            "shared_lock_etcd_batch_proposals",
            "Proposals that went to etcd in one transaction.",
        );
        Ok(Self {
            calls: HistogramVec::new(calls.buckets(CALLS.to_vec()), &["call", "outcome"])?,
            batch_size: Histogram::with_opts(batch_size.buckets(BATCHES.to_vec()))?,
            transactions: IntGauge::new(
                "shared_lock_etcd_transactions_under_way",
                "Transactions that etcd has not answered yet.",
            )?,
            spares: IntGauge::new(
                "shared_lock_etcd_spare_leases",
                "Leases that were granted ahead of their tenures.",
            )?,
            tenure_leases: IntCounterVec::new(
                Opts::new(
                    "shared_lock_etcd_tenure_leases_total",
                    "Leases for tenures, by whether a spare one was at hand.",
                ),
                &["source"],
            )?,
            keepalive_streams: IntGauge::new(
                "shared_lock_etcd_keepalive_streams",
                "Open streams of keepalives.",
            )?,
            out_of_space: IntGauge::new(
                "shared_lock_etcd_out_of_space",
                "1 while etcd's alarm for want of space is seen.",
            )?,
            watch: WatchLag::new()?,
        })
    }

    /// Shows them in `registry`.
    ///
    /// # Errors
    /// A metric of one of the names is there already.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.calls.clone()))?;
        registry.register(Box::new(self.batch_size.clone()))?;
        registry.register(Box::new(self.transactions.clone()))?;
        registry.register(Box::new(self.spares.clone()))?;
        registry.register(Box::new(self.tenure_leases.clone()))?;
        registry.register(Box::new(self.keepalive_streams.clone()))?;
        registry.register(Box::new(self.out_of_space.clone()))?;
        registry.register(Box::new(self.watch.clone()))
    }

    pub(super) fn called<T>(&self, call: &str, took: Duration, outcome: Result<&T, &Fault>) {
        let outcome = outcome.map_or_else(Fault::kind, |_| "answered");
        self.calls
            .with_label_values(&[call, outcome])
            .observe(took.as_secs_f64());
    }

    pub(super) fn took_lease(&self, source: &str) {
        self.tenure_leases.with_label_values(&[source]).inc();
    }

    /// The watch showed that nothing is missing up to now.
    pub(super) fn watch_is_current(&self) {
        *self
            .watch
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl fmt::Debug for EtcdMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdMetrics").finish_non_exhaustive()
    }
}

/// Grows by itself while the watch is silent, so it is taken when it is asked for.
#[derive(Clone)]
struct WatchLag {
    gauge: Gauge,
    current: Arc<Mutex<Option<Instant>>>,
}

impl WatchLag {
    fn new() -> prometheus::Result<Self> {
        let gauge = Gauge::new(
            "shared_lock_etcd_watch_lag_seconds",
            "How old what this replica has seen of the locks may be at most.",
        )?;
        let current = Arc::default();
        Ok(Self { gauge, current })
    }
}

impl Collector for WatchLag {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let current = *self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let lag = current.map_or(f64::INFINITY, |current| current.elapsed().as_secs_f64());
        self.gauge.set(lag);
        self.gauge.collect()
    }
}
