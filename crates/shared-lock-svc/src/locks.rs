//! The business rules: which requests are taken, and what is counted of them.

mod compat;
mod events;
mod follow;
mod holdings;
mod limits;
mod sessions;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

pub use self::{
    compat::{LeaseWish, Leased},
    events::{Events, Happened},
};
use self::{follow::follow, limits::Limits};
use crate::{
    cache::LeaseCache,
    lease::{
        AcquireAllRequest, AcquireRequest, Acquisition, AllAcquisition, Claim, LeaseId, LockKey,
        LockPage, LockView, Mode, PageRequest, Verified,
    },
    metrics::LockMetrics,
    store::{ForceRelease, Release, Renewal, Store, StoreError},
};

/// What a caller may ask for, and what it is told.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The longest life of a lease.
    pub max_ttl: Duration,
    /// The longest wait.
    pub max_wait: Duration,
    /// Locks that one holder may wait for at this replica at once; 0 is no limit.
    pub max_waiters: usize,
    /// Locks that one holder may have at once, at all replicas; 0 is no limit.
    pub max_locks: usize,
    /// Callers that may listen to events at once.
    pub max_streams: usize,
    /// Whether replicas of tentens-tech/shared-lock may run on the same store.
    pub go_replicas: bool,
    /// The epoch of all tokens, where the operator names one; else the store does.
    pub token_epoch: Option<String>,
}

impl Rules {
    /// The longest lock-delay.
    pub const MAX_LOCK_DELAY: Duration = Duration::from_secs(600);

    /// How many locks may be asked for at once: what fits into one transaction of etcd.
    pub const MAX_AT_ONCE: usize = 30;
}

/// Why a call did not come to an answer.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lease does not hold this lock, now or any more.
    #[error("lease {0} does not hold this lock")]
    LeaseNotFound(LeaseId),
    /// The session ended, or was not kept alive.
    #[error("there is no session {0}")]
    SessionNotFound(LeaseId),
    /// Peers on the same store would not respect the mode.
    #[error("`{}` excludes no replica of tentens-tech/shared-lock, and some may run here", .0.as_str())]
    MixedFleet(Mode),
    /// The holder waits for as many locks as it may.
    #[error("this holder waits for {limit} locks already")]
    TooManyWaiters {
        /// How many those are.
        limit: usize,
    },
    /// The holder has, or asks for, as many locks as it may have.
    #[error("this holder has {limit} locks already, with those it asks for")]
    TooManyLocks {
        /// How many those are.
        limit: usize,
    },
    /// As many callers listen to events as may.
    #[error("{limit} callers listen to events already")]
    TooManyStreams {
        /// How many those are.
        limit: usize,
    },
    /// This replica takes no requests any more, and ends those that wait.
    #[error("this replica is shutting down; another one answers")]
    ShuttingDown,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a request ended, and the token epoch that it ended in.
#[derive(Debug)]
pub struct InEpoch<T> {
    /// How it ended.
    pub outcome: T,
    /// The epoch of its fencing tokens.
    pub token_epoch: String,
}

/// The locks of a store, under our rules.
pub struct Locks {
    store: Arc<dyn Store>,
    rules: Rules,
    limits: Limits,
    metrics: LockMetrics,
    cache: Option<Arc<LeaseCache>>,
    closing: CancellationToken,
}

impl Locks {
    /// The locks of `store`, and a task that follows what happens to them until [`Locks::close`].
    /// The cache answers only `/lease`.
    pub fn start(
        store: Arc<dyn Store>,
        rules: Rules,
        metrics: LockMetrics,
        cache: Option<Arc<LeaseCache>>,
    ) -> Self {
        let limits = Limits::new(&rules);
        let closing = CancellationToken::new();
        let following = follow(
            Arc::clone(&store),
            metrics.clone(),
            limits.holdings(),
            cache.clone(),
        );
        let done = closing.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = following => (),
                () = done.cancelled() => (),
            }
        });
        Self {
            store,
            limits,
            metrics,
            cache,
            closing,
            rules,
        }
    }

    /// The rules. Whoever reads a request from outside holds it to them.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Takes a lock, or stands in its queue. Dropping the future ends the request.
    ///
    /// # Errors
    /// The rules do not let it, or the store did not do it.
    pub async fn acquire(
        &self,
        request: AcquireRequest,
    ) -> Result<InEpoch<Acquisition>, LockError> {
        self.respected(request.mode)?;
        let place = self.limits.admit(&request.holder, 1, request.wait)?;
        let epoch = self.token_epoch().await?;
        let key = request.key.clone();
        let timer = self.metrics.start_acquire(request.mode, request.wait);
        let outcome = self.unless_closing(self.store.acquire(request)).await;
        timer.stop(&outcome);
        if let Ok(Acquisition::Acquired(tenure)) = &outcome {
            place.won([(key, tenure.fencing_token)]);
        }
        Ok(self.in_epoch(outcome?, epoch).await)
    }

    /// Takes several locks or none. Dropping the future ends the request.
    ///
    /// # Errors
    /// The rules do not let it, or the store did not do it.
    pub async fn acquire_all(
        &self,
        request: AcquireAllRequest,
    ) -> Result<InEpoch<AllAcquisition>, LockError> {
        for lock in &request.locks {
            self.respected(lock.mode)?;
        }
        let count = request.locks.len();
        let place = self.limits.admit(&request.holder, count, request.wait)?;
        let epoch = self.token_epoch().await?;
        let timer = self.metrics.start_acquire_all(request.wait);
        let outcome = self.unless_closing(self.store.acquire_all(request)).await;
        timer.stop_all(&outcome);
        if let Ok(AllAcquisition::Acquired(all)) = &outcome {
            place.won(
                all.tenures
                    .iter()
                    .map(|(key, token, _)| (key.clone(), *token)),
            );
        }
        Ok(self.in_epoch(outcome?, epoch).await)
    }

    /// Restarts the life of the lease that holds `key`.
    ///
    /// # Errors
    /// It does not hold it, or the store did not answer.
    pub async fn keep_alive(&self, key: &LockKey, lease: LeaseId) -> Result<Renewal, LockError> {
        let outcome = self.store.keep_alive(key, lease).await;
        self.metrics.kept_alive("keepalive", &outcome);
        outcome?.ok_or(LockError::LeaseNotFound(lease))
    }

    /// Restarts the life of a lease, whatever hangs on it; `None` if it is gone. A store that knows no lease
    /// without its lock finds it by a lock `of` it.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn keep_lease_alive(
        &self,
        lease: LeaseId,
        of: Option<&LockKey>,
    ) -> Result<Option<Renewal>, LockError> {
        let outcome = match of.filter(|_| !self.store.abilities().bare_leases) {
            Some(key) => self.store.keep_alive(key, lease).await,
            None => self.store.keep_lease_alive(lease).await,
        };
        self.metrics.kept_alive("keepalive", &outcome);
        Ok(outcome?)
    }

    /// Ends a tenure or a request; `false` if it was over.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn release(&self, key: &LockKey, release: Release) -> Result<bool, LockError> {
        let outcome = self.store.release(key, release).await;
        self.forget(key);
        self.metrics.released("release", &outcome);
        Ok(outcome?)
    }

    /// Whether a tenure is the current one, linearizably; `None` if it is not.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn verify(
        &self,
        key: &LockKey,
        claim: &Claim,
    ) -> Result<Option<Verified>, LockError> {
        let outcome = self.store.verify(key, claim).await;
        self.metrics.verified(&outcome);
        Ok(outcome?)
    }

    /// Ends every tenure of a lock against the will of its holders. Returns who they were.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn force_release(
        &self,
        key: &LockKey,
        order: ForceRelease,
    ) -> Result<LockView, LockError> {
        let outcome = self.store.force_release(key, order).await;
        self.forget(key);
        self.metrics.force_released(&outcome);
        Ok(outcome?)
    }

    /// Who holds and who waits.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn inspect(&self, key: &LockKey) -> Result<LockView, LockError> {
        Ok(self.store.inspect(key).await?)
    }

    /// Locks that somebody holds or waits for.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn list(&self, page: &PageRequest) -> Result<LockPage, LockError> {
        Ok(self.store.list(page).await?)
    }

    /// What happens to the locks, from now on.
    ///
    /// # Errors
    /// Too many listen already, or this replica is on its way down.
    pub fn events(&self) -> Result<Events, LockError> {
        if self.closing.is_cancelled() {
            return Err(LockError::ShuttingDown);
        }
        if !self.store.abilities().whole_feed {
            return Err(StoreError::Unsupported("the events of other replicas").into());
        }
        let limit = self.rules.max_streams;
        let place = self.metrics.stream_place(limit);
        let place = place.ok_or(LockError::TooManyStreams { limit })?;
        Ok(Events::new(
            self.store.events(),
            self.closing.clone(),
            place,
        ))
    }

    /// Names the life of the store: tokens compare only within one epoch.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn token_epoch(&self) -> Result<String, LockError> {
        match &self.rules.token_epoch {
            Some(epoch) => Ok(epoch.clone()),
            None => Ok(self.store.token_epoch().await?),
        }
    }

    /// What is counted.
    pub fn metrics(&self) -> &LockMetrics {
        &self.metrics
    }

    /// Ends every wait and every stream of events: this replica is on its way down.
    pub async fn close(&self) {
        self.closing.cancel();
        self.store.close().await;
    }

    /// Whether all that share the store respect `mode`.
    fn respected(&self, mode: Mode) -> Result<(), LockError> {
        match self.rules.go_replicas && mode != Mode::Exclusive {
            true => Err(LockError::MixedFleet(mode)),
            false => Ok(()),
        }
    }

    /// What came of it, unless this replica is on its way down: then the store has ended it, or would
    /// have.
    async fn unless_closing<T>(
        &self,
        outcome: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, LockError> {
        if self.closing.is_cancelled() {
            return Err(LockError::ShuttingDown);
        }
        outcome.await.map_err(|err| match err {
            StoreError::Unavailable(_) | StoreError::Timeout if self.closing.is_cancelled() => {
                LockError::ShuttingDown
            }
            err => LockError::Store(err),
        })
    }

    /// `outcome` in the epoch of now: the store may have been replaced while the request waited. `before` is
    /// asked for first, and stands in for a store that is silent by now: nobody may hold a lock whose
    /// answer then fails.
    async fn in_epoch<T>(&self, outcome: T, before: String) -> InEpoch<T> {
        let token_epoch = self.token_epoch().await.unwrap_or(before);
        InEpoch {
            outcome,
            token_epoch,
        }
    }

    fn forget(&self, key: &LockKey) {
        if let Some(cache) = &self.cache {
            cache.forget(key);
        }
    }
}
