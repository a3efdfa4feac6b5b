//! What a lock store does, whatever it stands on.

pub mod embedded;
pub mod etcd;
mod machine;
pub mod memory;

use std::time::Duration;

use async_trait::async_trait;

use crate::lease::{AcquireRequest, Acquisition, LeaseId, LockKey, LockView, Release};

/// A store of locks. Each verb is one atomic step, and safe to repeat.
#[async_trait]
pub trait LockStore: Send + Sync {
    /// Takes the lock, or stands in its queue until `request.wait` is over.
    ///
    /// Dropping the future ends the request: it leaves the queue, and what it was granted
    /// meanwhile is released.
    async fn acquire(&self, request: AcquireRequest) -> Result<Acquisition, StoreError>;

    /// Restarts the TTL of a lease, whatever hangs on it; `None` if the lease is gone.
    async fn keep_lease_alive(&self, lease: LeaseId) -> Result<Option<Renewal>, StoreError>;

    /// Restarts the TTL of the lease that holds `key`; `None` if it does not hold it any more.
    async fn keep_alive(
        &self,
        key: &LockKey,
        lease: LeaseId,
    ) -> Result<Option<Renewal>, StoreError>;

    /// Ends a tenure or a request, and hands the lock to the next waiter; `false` if it was over.
    async fn release(&self, key: &LockKey, release: Release) -> Result<bool, StoreError>;

    /// Who holds and who waits, as of now.
    async fn inspect(&self, key: &LockKey) -> Result<LockView, StoreError>;

    /// Names the life of this store: tokens compare only within one epoch.
    async fn token_epoch(&self) -> Result<String, StoreError>;

    /// Whether the store answers.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Ends what this replica keeps running in the store: its waiters, its spare leases.
    async fn close(&self);
}

/// A lease that was kept alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// The life granted.
    pub ttl: Duration,
    /// What is left of it, counted from the send of the keepalive.
    pub remaining: Duration,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It refuses connections, answers errors, or was found silent a moment ago.
    #[error("the lock store is unavailable")]
    Unavailable(#[source] anyhow::Error),
    /// It did not answer in time; what was asked may still happen, and is undone when it does.
    #[error("the lock store did not answer in time")]
    Timeout,
    /// It understood, and will not: too large, out of range, not permitted.
    #[error("the lock store refuses: {0}")]
    Refused(String),
}

/// The life that a lease gets when `asked` is asked for: whole seconds, from 2 up, on every store,
/// because etcd knows no other.
///
/// # Errors
/// It is longer than etcd's longest, 9,000,000,000 s.
pub fn granted_ttl(asked: Duration) -> Result<Duration, StoreError> {
    const LEAST: u64 = 2;
    const MOST: u64 = 9_000_000_000;
    let seconds = asked
        .as_secs()
        .saturating_add(u64::from(asked.subsec_nanos() > 0));
    if seconds > MOST {
        return Err(StoreError::Refused(format!(
            "a lease lives at most {MOST} s"
        )));
    }
    Ok(Duration::from_secs(seconds.max(LEAST)))
}
