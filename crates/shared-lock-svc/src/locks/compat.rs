//! The two verbs of the tentens-tech/shared-lock wire.

use std::time::{Duration, Instant};

use super::Locks;
use crate::{
    cache::Holding,
    lease::{
        AcquireRequest, Acquisition, Anchor, Holder, LeaseId, LockKey, Metadata, Mode, RequestId,
        Tenure,
    },
    store::{Renewal, StoreError},
};

/// What a `/lease` call asks for.
#[derive(Debug, Clone)]
pub struct LeaseWish {
    /// The lock.
    pub key: LockKey,
    /// The bytes of its holder key.
    pub value: String,
    /// The life asked for.
    pub ttl: Duration,
    /// The trace of the call, for the audit log.
    pub trace_id: Option<String>,
}

/// How a `/lease` call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// The caller has the lock, under this name.
    Created(Holder, Tenure),
    /// Somebody has it, the caller perhaps: who, and the lease that holds it, as far as either is known.
    Accepted(Option<Holder>, Option<LeaseId>),
}

impl Locks {
    /// Takes a lock, or tells who holds it.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn lease(&self, wish: LeaseWish) -> Result<Leased, StoreError> {
        // Nobody could keep it alive: `/keepalive` names a lease and no lock.
        if !self.store.abilities().bare_leases {
            return Err(StoreError::Unsupported("a lease without its lock"));
        }
        if let Some(known) = self.cache.as_ref().and_then(|cache| cache.get(&wish.key)) {
            self.metrics.leased("accepted");
            return Ok(Leased::Accepted(known.holder, Some(known.lease)));
        }
        let started = Instant::now();
        let request = request(wish);
        let (key, holder) = (request.key.clone(), request.holder.clone());
        let (status, leased) = match self.store.acquire(request).await {
            Ok(Acquisition::Acquired(tenure)) => {
                let holding = Holding {
                    lease: tenure.lease_id,
                    holder: Some(holder.clone()),
                };
                self.remember(key, holding, Some(tenure.until.left()), started);
                ("created", Ok(Leased::Created(holder, tenure)))
            }
            Ok(Acquisition::Held(held)) => {
                if let Some(lease) = held.lease_id {
                    let holder = held.holder.clone();
                    self.remember(key, Holding { lease, holder }, held.remaining, started);
                }
                ("accepted", Ok(Leased::Accepted(held.holder, held.lease_id)))
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

    fn remember(
        &self,
        key: LockKey,
        holding: Holding,
        remaining: Option<Duration>,
        started: Instant,
    ) {
        if let Some(cache) = &self.cache {
            cache.put(key, holding, remaining.unwrap_or_default(), started);
        }
    }
}

/// The old wire knows no holder: its value is one, where it can be.
fn request(wish: LeaseWish) -> AcquireRequest {
    AcquireRequest {
        key: wish.key,
        holder: Holder::try_from(wish.value.clone()).unwrap_or_else(|_| Holder::unnamed()),
        anchor: Anchor::Own(wish.ttl),
        mode: Mode::Exclusive,
        wait: Duration::ZERO,
        lock_delay: Duration::ZERO,
        request_id: RequestId::random(),
        metadata: Metadata::new(),
        value: wish.value,
        trace_id: wish.trace_id,
    }
}
