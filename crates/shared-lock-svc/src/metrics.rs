//! What the service counts, beside the HTTP metrics that every service has. No lock key is ever a
//! label.

use std::time::{Duration, Instant};

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::Collector,
};

use crate::{
    lease::{Acquisition, AllAcquisition, EventKind, LockView, Mode, Verified},
    locks::LockError,
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
    events: IntCounterVec,
    hand_overs: IntCounter,
    events_missed: IntCounter,
    event_streams: IntGauge,
    audit_lines: IntCounterVec,
}

impl LockMetrics {
    /// Makes them, and shows them in `registry`.
    ///
    /// # Errors
    /// A metric of one of the names is there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let shown = Shown(registry);
        Ok(Self {
            lease_operations: shown.counters(
                "shared_lock_lease_operations_total",
                "Total number of lease operations",
                &["operation", "status"],
            )?,
            lease_grants: shown.durations(
                "shared_lock_lease_grant_duration_seconds",
                "Duration of lease grant in seconds",
                &GRANT_BUCKETS,
                &["operation"],
            )?,
            lock_operations: shown.counters(
                "shared_lock_lock_operations_total",
                "Calls on locks and sessions other than acquires, by how they ended.",
                &["operation", "outcome"],
            )?,
            acquire_wait: shown.durations(
                "shared_lock_acquire_wait_seconds",
                "Time from the request for a lock to its outcome.",
                &WAIT_BUCKETS,
                &["outcome", "mode"],
            )?,
            waiters: shown.it(IntGauge::new(
                "shared_lock_waiters",
                "Requests at this replica that may wait for a lock and have no outcome yet.",
            )?)?,
            events: shown.counters(
                "shared_lock_events_total",
                "What happened to locks, each counted at one replica.",
                &["event"],
            )?,
            hand_overs: shown.it(IntCounter::new(
                "shared_lock_hand_overs_total",
                "Releases that gave the lock to a waiter in the same step.",
            )?)?,
            events_missed: shown.it(IntCounter::new(
                "shared_lock_events_missed_total",
                "Events that came faster than this replica could count them.",
            )?)?,
            event_streams: shown.it(IntGauge::new(
                "shared_lock_event_streams",
                "Callers that listen to events.",
            )?)?,
            audit_lines: shown.counters(
                "shared_lock_audit_lines_total",
                "Lines of the audit log: written, delayed by a failed write, or missed.",
                &["outcome"],
            )?,
        })
    }

    /// Starts to time a `/lease` call; it is observed when the timer is dropped, however it ends.
    pub fn time_lease_call(&self) -> prometheus::HistogramTimer {
        self.lease_grants.with_label_values(&["get"]).start_timer()
    }

    pub(crate) fn start_acquire(&self, mode: Mode, wait: Duration) -> AcquireTimer {
        AcquireTimer::start(self, mode.as_str(), wait)
    }

    pub(crate) fn start_acquire_all(&self, wait: Duration) -> AcquireTimer {
        AcquireTimer::start(self, "several", wait)
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

    pub(crate) fn kept_alive(
        &self,
        operation: &str,
        outcome: &Result<Option<Renewal>, StoreError>,
    ) {
        self.count(
            operation,
            match outcome {
                Ok(Some(_)) => "renewed",
                Ok(None) => "gone",
                Err(_) => "error",
            },
        );
    }

    pub(crate) fn released(&self, operation: &str, outcome: &Result<bool, StoreError>) {
        self.count(
            operation,
            match outcome {
                Ok(true) => "ended",
                Ok(false) => "over",
                Err(_) => "error",
            },
        );
    }

    pub(crate) fn verified(&self, outcome: &Result<Option<Verified>, StoreError>) {
        self.count(
            "verify",
            match outcome {
                Ok(Some(_)) => "current",
                Ok(None) => "over",
                Err(_) => "error",
            },
        );
    }

    pub(crate) fn force_released(&self, outcome: &Result<LockView, StoreError>) {
        self.count(
            "force_release",
            match outcome {
                Ok(view) if view.holders.is_empty() => "over",
                Ok(_) => "ended",
                Err(_) => "error",
            },
        );
    }

    pub(crate) fn session_opened(&self, opened: bool) {
        self.count("open_session", if opened { "opened" } else { "error" });
    }

    pub(crate) fn happened(&self, kind: EventKind) {
        self.events.with_label_values(&[kind.as_str()]).inc();
    }

    pub(crate) fn handed_over(&self) {
        self.hand_overs.inc();
    }

    pub(crate) fn events_missed(&self, count: u64) {
        self.events_missed.inc_by(count);
    }

    pub(crate) fn audited(&self, outcome: &str, lines: u64) {
        self.audit_lines.with_label_values(&[outcome]).inc_by(lines);
    }

    /// One of `limit` places for those who listen to events.
    pub(crate) fn stream_place(&self, limit: usize) -> Option<StreamPlace> {
        self.event_streams.inc();
        let place = StreamPlace(self.event_streams.clone());
        let taken = usize::try_from(self.event_streams.get()).unwrap_or(0);
        (taken <= limit).then_some(place)
    }

    fn count(&self, operation: &str, outcome: &str) {
        self.lock_operations
            .with_label_values(&[operation, outcome])
            .inc();
    }
}

/// A place of somebody who listens to events, free again when it is dropped.
pub(crate) struct StreamPlace(IntGauge);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One request for a lock. Dropped without an outcome, it was abandoned by its caller.
pub(crate) struct AcquireTimer {
    metrics: LockMetrics,
    started: Instant,
    mode: &'static str,
    waits: bool,
    outcome: &'static str,
}

impl AcquireTimer {
    fn start(metrics: &LockMetrics, mode: &'static str, wait: Duration) -> Self {
        let waits = !wait.is_zero();
        if waits {
            metrics.waiters.inc();
        }
        Self {
            metrics: metrics.clone(),
            started: Instant::now(),
            mode,
            waits,
            outcome: "abandoned",
        }
    }

    pub(crate) fn stop(mut self, outcome: &Result<Acquisition, LockError>) {
        self.outcome = match outcome {
            Ok(Acquisition::Acquired(_)) => "acquired",
            Ok(Acquisition::Held(_)) => "held",
            Ok(Acquisition::RequestKnown) => "request_known",
            Ok(Acquisition::RequestEnded) => "request_ended",
            Ok(Acquisition::SessionGone) => "session_gone",
            Ok(Acquisition::Deadlock(_)) => "deadlock",
            Err(err) => failure(err),
        };
    }

    pub(crate) fn stop_all(mut self, outcome: &Result<AllAcquisition, LockError>) {
        self.outcome = match outcome {
            Ok(AllAcquisition::Acquired(_)) => "acquired",
            Ok(AllAcquisition::Held(..)) => "held",
            Ok(AllAcquisition::RequestKnown) => "request_known",
            Ok(AllAcquisition::RequestEnded) => "request_ended",
            Ok(AllAcquisition::SessionGone) => "session_gone",
            Err(err) => failure(err),
        };
    }
}

fn failure(err: &LockError) -> &'static str {
    match err {
        LockError::ShuttingDown => "shutting_down",
        _ => "error",
    }
}

impl Drop for AcquireTimer {
    fn drop(&mut self) {
        if self.waits {
            self.metrics.waiters.dec();
        }
        self.metrics
            .acquire_wait
            .with_label_values(&[self.outcome, self.mode])
            .observe(self.started.elapsed().as_secs_f64());
    }
}

/// Makes metrics that are shown from the start.
struct Shown<'a>(&'a Registry);

impl Shown<'_> {
    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.it(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn durations(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.it(HistogramVec::new(options, labels)?)
    }

    fn it<M: Collector + Clone + 'static>(&self, metric: M) -> prometheus::Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}
