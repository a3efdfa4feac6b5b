//! The business rules: which requests are taken, and what is counted of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;

use crate::{
    cache::LeaseCache,
    lease::{
        AcquireRequest, Acquisition, Anchor, Holder, LeaseId, LockKey, LockView, Metadata, Mode,
        Refused, RequestId, Tenure,
    },
    metrics::LockMetrics,
    store::{Release, Renewal, Store, StoreError},
};

/// What a caller may ask for, and what it is told.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The longest life of a lease.
    pub max_ttl: Duration,
    /// The longest wait.
    pub max_wait: Duration,
    /// The epoch of all tokens, where the operator names one; else the store does.
    pub token_epoch: Option<String>,
}

/// Why a call did not come to an answer.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A field is not within its limits.
    #[error("{field}: {allowed}")]
    Invalid {
        /// Its name on the wire.
        field: &'static str,
        /// What is allowed.
        allowed: Refused,
    },
    /// The lease does not hold this lock, now or any more.
    #[error("lease {0} does not hold this lock")]
    LeaseNotFound(LeaseId),
    /// The store did not do it.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// How a `/lease` call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// The caller has the lock.
    Created(Tenure),
    /// Somebody has it, the caller perhaps; the lease that holds it, as far as there is one.
    Accepted(Option<LeaseId>),
}

/// The locks of a store, under our rules.
pub struct Locks {
    store: Arc<dyn Store>,
    rules: Rules,
    metrics: LockMetrics,
    cache: Option<Arc<LeaseCache>>,
    epoch: OnceCell<String>,
}

impl Locks {
    /// The locks of `store`. The cache answers only `/lease`.
    pub fn new(
        store: Arc<dyn Store>,
        rules: Rules,
        metrics: LockMetrics,
        cache: Option<Arc<LeaseCache>>,
    ) -> Self {
        let epoch = OnceCell::new_with(rules.token_epoch.clone());
        Self {
            store,
            rules,
            metrics,
            cache,
            epoch,
        }
    }

    /// Takes a lock, or stands in its queue. Dropping the future ends the request.
    ///
    /// # Errors
    /// The request is not within the limits, or the store did not do it.
    pub async fn acquire(&self, request: AcquireRequest) -> Result<Acquisition, LockError> {
        if let Anchor::Own(ttl) = request.anchor {
            self.check("ttl_ms", ttl, Duration::from_millis(1), self.rules.max_ttl)?;
        }
        self.check("wait_ms", request.wait, Duration::ZERO, self.rules.max_wait)?;
        check_metadata(&request.metadata)?;
        // Asked first: nobody may hold a lock whose answer then fails.
        self.token_epoch().await?;
        let timer = self.metrics.start_acquire();
        let outcome = self.store.acquire(request).await;
        timer.stop(&outcome);
        Ok(outcome?)
    }

    /// Restarts the life of the lease that holds `key`.
    ///
    /// # Errors
    /// It does not hold it, or the store did not answer.
    pub async fn keep_alive(&self, key: &LockKey, lease: LeaseId) -> Result<Renewal, LockError> {
        let outcome = self.store.keep_alive(key, lease).await;
        self.metrics.kept_alive(&outcome);
        outcome?.ok_or(LockError::LeaseNotFound(lease))
    }

    /// Ends a tenure or a request; `false` if it was over.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn release(&self, key: &LockKey, release: Release) -> Result<bool, LockError> {
        let outcome = self.store.release(key, release).await;
        if let Some(cache) = &self.cache {
            cache.forget(key);
        }
        self.metrics.released(&outcome);
        Ok(outcome?)
    }

    /// Who holds and who waits.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn inspect(&self, key: &LockKey) -> Result<LockView, LockError> {
        Ok(self.store.inspect(key).await?)
    }

    /// Names the life of the store: tokens compare only within one epoch.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn token_epoch(&self) -> Result<&str, LockError> {
        let epoch = self.epoch.get_or_try_init(|| self.store.token_epoch());
        Ok(epoch.await?)
    }

    /// Takes a lock, or tells which lease holds it: the one call of the tentens-tech/shared-lock
    /// wire that takes locks.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn lease(
        &self,
        key: LockKey,
        value: String,
        ttl: Duration,
    ) -> Result<Leased, StoreError> {
        if let Some(lease) = self.cache.as_ref().and_then(|cache| cache.get(&key)) {
            self.metrics.leased("accepted");
            return Ok(Leased::Accepted(Some(lease)));
        }
        let started = Instant::now();
        let outcome = self
            .store
            .acquire(compat_request(key.clone(), value, ttl))
            .await;
        let (status, leased) = match outcome {
            Ok(Acquisition::Acquired(tenure)) => {
                self.remember(key, tenure.lease_id, Some(tenure.remaining), started);
                ("created", Ok(Leased::Created(tenure)))
            }
            Ok(Acquisition::Held(held)) => {
                if let Some(lease) = held.lease_id {
                    self.remember(key, lease, held.remaining, started);
                }
                ("accepted", Ok(Leased::Accepted(held.lease_id)))
            }
            // Nobody else has this request id: the lease was over before its holder could be told.
            // It has no session, and never waits.
            Ok(
                Acquisition::RequestKnown
                | Acquisition::RequestEnded
                | Acquisition::SessionGone
                | Acquisition::Deadlock(_),
            ) => ("error", Err(StoreError::Timeout)),
            Err(err) => ("error", Err(err)),
        };
        self.metrics.leased(status);
        leased
    }

    /// Restarts the life of a lease, whatever hangs on it; `None` if it is gone.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn prolong(&self, lease: LeaseId) -> Result<Option<Renewal>, StoreError> {
        let outcome = self.store.keep_lease_alive(lease).await;
        self.metrics.prolonged(matches!(outcome, Ok(Some(_))));
        outcome
    }

    /// What is counted.
    pub fn metrics(&self) -> &LockMetrics {
        &self.metrics
    }

    /// Ends every wait: this replica is on its way down.
    pub async fn close(&self) {
        self.store.close().await;
    }

    fn remember(
        &self,
        key: LockKey,
        lease: LeaseId,
        remaining: Option<Duration>,
        started: Instant,
    ) {
        if let Some(cache) = &self.cache {
            cache.put(key, lease, remaining.unwrap_or_default(), started);
        }
    }

    fn check(
        &self,
        field: &'static str,
        value: Duration,
        least: Duration,
        most: Duration,
    ) -> Result<(), LockError> {
        if value >= least && value <= most {
            return Ok(());
        }
        let allowed = format!("must be {} to {}", least.as_millis(), most.as_millis());
        Err(LockError::Invalid {
            field,
            allowed: Refused(allowed),
        })
    }
}

fn check_metadata(metadata: &Metadata) -> Result<(), LockError> {
    const ENTRIES: usize = 32;
    const BYTES: usize = 4096;
    let bytes: usize = metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
    let mut text = metadata
        .iter()
        .flat_map(|(k, v)| k.chars().chain(v.chars()));
    if metadata.len() <= ENTRIES && bytes <= BYTES && !text.any(char::is_control) {
        return Ok(());
    }
    let allowed = format!(
        "must be at most {ENTRIES} entries and {BYTES} bytes in all, without control characters"
    );
    Err(LockError::Invalid {
        field: "metadata",
        allowed: Refused(allowed),
    })
}

/// The old wire knows no holder: its value is one, where it can be.
fn compat_request(key: LockKey, value: String, ttl: Duration) -> AcquireRequest {
    AcquireRequest {
        key,
        holder: Holder::try_from(value.clone()).unwrap_or_else(|_| Holder::unnamed()),
        anchor: Anchor::Own(ttl),
        mode: Mode::Exclusive,
        wait: Duration::ZERO,
        lock_delay: Duration::ZERO,
        request_id: RequestId::random(),
        metadata: Metadata::new(),
        value,
        trace_id: None,
    }
}
