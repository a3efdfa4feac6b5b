//! What is counted of PostgreSQL's servers.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};
use prometheus::{Opts, Registry};

use crate::store::postgres::server::Server;

/// Seconds; a look-up is a round trip, a batch a sync.
const CALL_BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.5,
];

/// Histograms and counters of all servers.
#[derive(Clone)]
pub(super) struct PostgresMetrics {
    calls: HistogramVec,
    refused: IntCounterVec,
    replica_misses: IntCounterVec,
}

/// Those of one pool of connections.
pub(super) struct Calls {
    answered: Histogram,
    failed: Histogram,
    pool_full: IntCounter,
    resting: IntCounter,
}

/// Why a server was not asked.
#[derive(Clone, Copy)]
pub(super) enum NotAsked {
    /// Every connection was taken.
    PoolFull,
    /// It did not answer a moment ago.
    Resting,
}

impl PostgresMetrics {
    /// Makes them, and shows them in `registry`.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            calls: HistogramVec::new(
                HistogramOpts::new(
                    "message_hash_postgres_call_duration_seconds",
                    "Duration of calls of PostgreSQL, by whether they were answered.",
                )
                .buckets(CALL_BUCKETS.to_vec()),
                &["shard", "pool", "outcome"],
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "message_hash_postgres_not_asked_total",
                    "Calls that did not reach PostgreSQL, by why.",
                ),
                &["shard", "pool", "why"],
            )?,
            replica_misses: IntCounterVec::new(
                Opts::new(
                    "message_hash_postgres_replica_misses_total",
                    "Look-ups that no replica could answer, and the primary was asked.",
                ),
                &["shard"],
            )?,
        };
        registry.register(Box::new(metrics.calls.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.replica_misses.clone()))?;
        Ok(metrics)
    }

    pub(super) fn calls(&self, shard: &str, pool: &str) -> Calls {
        let calls = |outcome| self.calls.with_label_values(&[shard, pool, outcome]);
        let refused = |why| self.refused.with_label_values(&[shard, pool, why]);
        Calls {
            answered: calls("answered"),
            failed: calls("failed"),
            pool_full: refused("pool-full"),
            resting: refused("resting"),
        }
    }

    pub(super) fn replica_misses(&self, shard: &str) -> IntCounter {
        self.replica_misses.with_label_values(&[shard])
    }
}

impl Calls {
    pub(super) fn done(&self, was_answered: bool, took: Duration) {
        let histogram = if was_answered {
            &self.answered
        } else {
            &self.failed
        };
        histogram.observe(took.as_secs_f64());
    }

    pub(super) fn not_asked(&self, why: NotAsked) {
        match why {
            NotAsked::PoolFull => self.pool_full.inc(),
            NotAsked::Resting => self.resting.inc(),
        }
    }
}

/// Connections, as they are when somebody looks.
pub(super) struct Pools {
    pools: Vec<(String, Arc<Server>)>,
    connections: IntGaugeVec,
    up: IntGaugeVec,
}

impl Pools {
    /// Shows these pools, each with the name of its shard, in `registry`.
    pub(super) fn register(
        pools: Vec<(String, Arc<Server>)>,
        registry: &Registry,
    ) -> prometheus::Result<()> {
        let connections = IntGaugeVec::new(
            Opts::new(
                "message_hash_postgres_connections",
                "Connections to PostgreSQL, by what they do.",
            ),
            &["shard", "pool", "state"],
        )?;
        let up = IntGaugeVec::new(
            Opts::new(
                "message_hash_postgres_up",
                "1 when the server answered last time.",
            ),
            &["shard", "pool"],
        )?;
        registry.register(Box::new(Self {
            pools,
            connections,
            up,
        }))
    }
}

impl Collector for Pools {
    fn desc(&self) -> Vec<&Desc> {
        [self.connections.desc(), self.up.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // While messages move a shard may be there twice.
        self.connections.reset();
        self.up.reset();
        for (shard, server) in &self.pools {
            let pool = server.name();
            let (used, idle) = server.connections();
            for (state, count) in [("used", used), ("idle", idle)] {
                self.connections
                    .with_label_values(&[shard.as_str(), pool, state])
                    .add(i64::try_from(count).unwrap_or(i64::MAX));
            }
            let up = self.up.with_label_values(&[shard.as_str(), pool]);
            up.set(i64::from(server.is_up()));
        }
        [self.connections.collect(), self.up.collect()].concat()
    }
}
