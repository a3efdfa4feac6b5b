//! What the service counts, beside the HTTP metrics that every service has. No lock key is ever a
//! label.

use std::time::Instant;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use crate::{
    lease::Acquisition,
    store::{Renewal, StoreError},
};

/// Seconds; from a lock in memory to the longest waits.
const WAIT_BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// Seconds; a `/lease` call never waits for a lock, but it may for the store.
const GRANT_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Counters of locks and leases.
#[derive(Clone)]
pub struct LockMetrics {
    lease_operations: IntCounterVec,
    lease_grants: HistogramVec,
    lock_operations: IntCounterVec,
    acquire_wait: HistogramVec,
    waiters: IntGauge,
}

impl LockMetrics {
    /// Makes them, and shows them in `registry`.
    ///
    /// # Errors
    /// A metric of one of the names is there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            lease_operations: IntCounterVec::new(
                Opts::new(
                    "shared_lock_lease_operations_total",
                    "Total number of lease operations",
                ),
                &["operation", "status"],
            )?,
            lease_grants: HistogramVec::new(
                HistogramOpts::new(
                    "shared_lock_lease_grant_duration_seconds",
                    "Duration of lease grant in seconds",
                )
                .buckets(GRANT_BUCKETS.to_vec()),
                &["operation"],
            )?,
            lock_operations: IntCounterVec::new(
                Opts::new(
                    "shared_lock_lock_operations_total",
                    "Keepalives and releases of locks, by how they ended.",
                ),
                &["operation", "outcome"],
            )?,
            acquire_wait: HistogramVec::new(
                HistogramOpts::new(
                    "shared_lock_acquire_wait_seconds",
                    "Time from the request for a lock to its outcome.",
                )
                .buckets(WAIT_BUCKETS.to_vec()),
                &["outcome"],
            )?,
            waiters: IntGauge::new(
                "shared_lock_waiters",
                "Requests for a lock that have no outcome yet.",
            )?,
        };
        registry.register(Box::new(metrics.lease_operations.clone()))?;
        registry.register(Box::new(metrics.lease_grants.clone()))?;
        registry.register(Box::new(metrics.lock_operations.clone()))?;
        registry.register(Box::new(metrics.acquire_wait.clone()))?;
        registry.register(Box::new(metrics.waiters.clone()))?;
        Ok(metrics)
    }

    /// Starts to time a `/lease` call; it is observed when the timer is dropped, however it ends.
    pub fn time_lease_call(&self) -> prometheus::HistogramTimer {
        self.lease_grants.with_label_values(&["get"]).start_timer()
    }

    pub(crate) fn start_acquire(&self) -> AcquireTimer {
        self.waiters.inc();
        AcquireTimer {
            metrics: self.clone(),
            started: Instant::now(),
            outcome: "abandoned",
        }
    }

    pub(crate) fn leased(&self, status: &str) {
        self.lease_operations
            .with_label_values(&["get", status])
            .inc();
    }

    pub(crate) fn prolonged(&self, success: bool) {
        let status = if success { "success" } else { "failure" };
        self.lease_operations
            .with_label_values(&["prolong", status])
            .inc();
    }

    pub(crate) fn kept_alive(&self, outcome: &Result<Option<Renewal>, StoreError>) {
        self.count(
            "keepalive",
            match outcome {
                Ok(Some(_)) => "renewed",
                Ok(None) => "gone",
                Err(_) => "error",
            },
        );
    }

    pub(crate) fn released(&self, outcome: &Result<bool, StoreError>) {
        self.count(
            "release",
            match outcome {
                Ok(true) => "released",
                Ok(false) => "over",
                Err(_) => "error",
            },
        );
    }

    fn count(&self, operation: &str, outcome: &str) {
        self.lock_operations
            .with_label_values(&[operation, outcome])
            .inc();
    }
}

/// One request for a lock. Dropped without an outcome, it was abandoned by its caller.
pub(crate) struct AcquireTimer {
    metrics: LockMetrics,
    started: Instant,
    outcome: &'static str,
}

impl AcquireTimer {
    pub(crate) fn stop(mut self, outcome: &Result<Acquisition, StoreError>) {
        self.outcome = match outcome {
            Ok(Acquisition::Acquired(_)) => "acquired",
            Ok(Acquisition::Held(_)) => "held",
            Ok(Acquisition::RequestKnown) => "request_known",
            Ok(Acquisition::RequestEnded) => "request_ended",
            Ok(Acquisition::SessionGone) => "session_gone",
            Ok(Acquisition::Deadlock(_)) => "deadlock",
            Err(_) => "error",
        };
    }
}

impl Drop for AcquireTimer {
    fn drop(&mut self) {
        self.metrics.waiters.dec();
        self.metrics
            .acquire_wait
            .with_label_values(&[self.outcome])
            .observe(self.started.elapsed().as_secs_f64());
    }
}
