//! What the service counts.

use std::sync::Arc;

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use service_kit::metrics::DURATION_BUCKETS;

use crate::store::vault::VaultStore;

/// The metrics of the allocation. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    /// Calls for a hostname, by how they ended.
    pub allocations: IntCounterVec,
    /// Writes of a counter that lost against another one.
    pub counter_conflicts: IntCounter,
    /// Requests in one cycle.
    pub batch_size: Histogram,
    /// Requests that wait for their cycle.
    pub queue_depth: IntGauge,
    /// Entries that another cycle had left unfinished.
    pub recovered_entries: IntCounter,
    /// Numbers that became no hostname, by reason.
    pub skipped_numbers: IntCounterVec,
    /// Token epochs of the lock service left behind.
    pub epoch_changes: IntCounter,
    /// Waiting for the lock of a prefix.
    pub lock_wait: Histogram,
    /// Holding it.
    pub lock_hold: Histogram,
    /// Attempts at the lock of a prefix that came to nothing, by reason.
    pub lock_failures: IntCounterVec,
    /// Turns at a prefix that went on without its lock.
    pub turns_without_lock: IntCounter,
    /// Changes of the file of policies.
    pub policy_reloads: IntCounterVec,
    /// Prefixes whose numbers are nearly used up.
    pub nearly_full: IntGauge,
    /// Whether a dependency answers.
    pub dependency_up: IntGaugeVec,
    /// How often a dependency went away.
    pub dependency_outages: IntCounterVec,
    /// Calls to the store of documents, by operation and outcome.
    pub store_operations: HistogramVec,
}

impl Metrics {
    /// Metrics in `registry`.
    ///
    /// # Errors
    /// A metric of such a name is there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let durations = |name: &str, help: &str| {
            HistogramOpts::new(name, help).buckets(DURATION_BUCKETS.to_vec())
        };
        let batches = HistogramOpts::new(
            "hostname_batch_requests",
            "Requests allocated in one cycle.",
        )
        .buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]);
        Ok(Self {
            allocations: added(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "hostname_allocations_total",
                        "Calls for a hostname, by result.",
                    ),
                    &["result"],
                )?,
            )?,
            counter_conflicts: added(
                registry,
                IntCounter::new(
                    "hostname_counter_conflicts_total",
                    "Writes of a counter that lost.",
                )?,
            )?,
            batch_size: added(registry, Histogram::with_opts(batches)?)?,
            queue_depth: added(
                registry,
                IntGauge::new(
                    "hostname_queue_requests",
                    "Requests that wait for a number.",
                )?,
            )?,
            recovered_entries: added(
                registry,
                IntCounter::new(
                    "hostname_recovered_entries_total",
                    "Allocations finished in place of the replica that began them.",
                )?,
            )?,
            skipped_numbers: added(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "hostname_skipped_numbers_total",
                        "Numbers that became no hostname, by reason.",
                    ),
                    &["why"],
                )?,
            )?,
            epoch_changes: added(
                registry,
                IntCounter::new(
                    "hostname_token_epoch_changes_total",
                    "Counters whose fencing token came from another epoch of the lock service.",
                )?,
            )?,
            lock_wait: added(
                registry,
                Histogram::with_opts(durations(
                    "hostname_lock_wait_seconds",
                    "Waiting for the lock of a prefix.",
                ))?,
            )?,
            lock_hold: added(
                registry,
                Histogram::with_opts(durations(
                    "hostname_lock_hold_seconds",
                    "Holding the lock of a prefix.",
                ))?,
            )?,
            lock_failures: added(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "hostname_lock_failures_total",
                        "Attempts at the lock of a prefix that came to nothing, by reason.",
                    ),
                    &["why"],
                )?,
            )?,
            turns_without_lock: added(
                registry,
                IntCounter::new(
                    "hostname_turns_without_lock_total",
                    "Turns at a prefix that went on by check-and-set alone.",
                )?,
            )?,
            policy_reloads: added(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "hostname_policy_reloads_total",
                        "How often the file of policies had changed, by what became of it.",
                    ),
                    &["result"],
                )?,
            )?,
            nearly_full: added(
                registry,
                IntGauge::new(
                    "hostname_prefixes_nearly_full",
                    "Prefixes that have used up nine tenths of their numbers, at the last sweep.",
                )?,
            )?,
            dependency_up: added(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "hostname_dependency_up",
                        "1 while the dependency answers; at 0 calls that need it fail at once.",
                    ),
                    &["dependency"],
                )?,
            )?,
            dependency_outages: added(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "hostname_dependency_outages_total",
                        "How often a dependency went away.",
                    ),
                    &["dependency"],
                )?,
            )?,
            store_operations: added(
                registry,
                HistogramVec::new(
                    durations(
                        "hostname_store_operation_duration_seconds",
                        "Calls to the store of documents (Vault, or the embedded one).",
                    ),
                    &["operation", "outcome"],
                )?,
            )?,
        })
    }
}

/// Tells how long the token of Vault is good for, whenever somebody asks.
struct TokenTtl {
    gauge: Gauge,
    store: Arc<VaultStore>,
}

/// Adds the life of Vault's token to `registry`; it is not there while no token is, or one without an end.
///
/// # Errors
/// A metric of such a name is there already.
pub fn register_token_ttl(registry: &Registry, store: Arc<VaultStore>) -> prometheus::Result<()> {
    let gauge = Gauge::new(
        "hostname_vault_token_ttl_seconds",
        "Time until the token of Vault ends, if it is not renewed.",
    )?;
    registry.register(Box::new(TokenTtl { gauge, store }))
}

impl Collector for TokenTtl {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match self.store.token_ttl() {
            Some(ttl) => {
                self.gauge.set(ttl.as_secs_f64());
                self.gauge.collect()
            }
            None => Vec::new(),
        }
    }
}

fn added<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
