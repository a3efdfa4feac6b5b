//! What the service counts, beside the HTTP metrics that every service has.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use durable::Commit;

/// Seconds; a commit is a write and a sync or two.
const COMMIT_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Posts in one commit.
const GROUP_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Counters of messages, and of the commits below them.
#[derive(Clone)]
pub struct MessageMetrics {
    pub(crate) posts: IntCounterVec,
    pub(crate) posts_waiting: IntGauge,
    pub(crate) lookups: IntCounterVec,
    pub(crate) cached: IntCounter,
    pub(crate) cache_bytes: IntGauge,
    pub(crate) damaged: IntCounter,
    pub(crate) deletions: IntCounter,
    pub(crate) expired: IntCounter,
    pub(crate) scrubbed: IntCounter,
    commit_duration: Histogram,
    commit_posts: Histogram,
}

impl MessageMetrics {
    /// Makes them, and shows them in `registry`.
    ///
    /// # Errors
    ///
    /// A metric of one of the names is there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let lookups = IntCounterVec::new(
            Opts::new(
                "message_hash_lookups_total",
                "Messages asked for, by what was found.",
            ),
            &["outcome"],
        )?;
        let metrics = Self {
            posts: IntCounterVec::new(
                Opts::new(
                    "message_hash_posts_total",
                    "Messages posted, by whether they were new.",
                ),
                &["outcome"],
            )?,
            posts_waiting: IntGauge::new(
                "message_hash_posts_waiting",
                "Messages that wait for the disk.",
            )?,
            cached: lookups.with_label_values(&["cached"]),
            lookups,
            cache_bytes: IntGauge::new(
                "message_hash_cache_bytes",
                "Memory that cached messages take.",
            )?,
            deletions: IntCounter::new(
                "message_hash_deletions_total",
                "Messages deleted by an administrator.",
            )?,
            expired: IntCounter::new(
                "message_hash_expired_messages_total",
                "Messages removed because their time had passed.",
            )?,
            scrubbed: IntCounter::new(
                "message_hash_scrubbed_messages_total",
                "Messages hashed by scrubs.",
            )?,
            damaged: IntCounter::new(
                "message_hash_damaged_bodies_total",
                "Bodies read from the store that did not have their digest.",
            )?,
            commit_duration: Histogram::with_opts(
                HistogramOpts::new(
                    "message_hash_commit_duration_seconds",
                    "Duration of writing and syncing one group of posts.",
                )
                .buckets(COMMIT_BUCKETS.to_vec()),
            )?,
            commit_posts: Histogram::with_opts(
                HistogramOpts::new("message_hash_commit_posts", "Posts in one commit.")
                    .buckets(GROUP_BUCKETS.to_vec()),
            )?,
        };
        registry.register(Box::new(metrics.posts.clone()))?;
        registry.register(Box::new(metrics.posts_waiting.clone()))?;
        registry.register(Box::new(metrics.lookups.clone()))?;
        registry.register(Box::new(metrics.cache_bytes.clone()))?;
        registry.register(Box::new(metrics.damaged.clone()))?;
        registry.register(Box::new(metrics.deletions.clone()))?;
        registry.register(Box::new(metrics.expired.clone()))?;
        registry.register(Box::new(metrics.scrubbed.clone()))?;
        registry.register(Box::new(metrics.commit_duration.clone()))?;
        registry.register(Box::new(metrics.commit_posts.clone()))?;
        Ok(metrics)
    }

    /// Notes one commit of the embedded store.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a group has at most some hundred jobs"
    )]
    pub fn committed(&self, commit: &Commit) {
        self.commit_duration.observe(commit.took.as_secs_f64());
        self.commit_posts.observe(commit.jobs as f64);
    }
}
