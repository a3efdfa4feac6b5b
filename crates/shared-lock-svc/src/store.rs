//! What a lock store does, whatever it stands on: a trait for each concern, atomic verbs only.

pub mod embedded;
pub mod etcd;
mod machine;
pub mod memory;
pub mod register;
pub mod s3;
pub mod vault;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::lease::{
    AcquireAllRequest, AcquireRequest, Acquisition, AllAcquisition, Claim, LeaseId, LockEvent,
    LockKey, LockPage, LockView, Note, PageRequest, Session, SessionRequest, Until, Verified,
};

/// A whole store. What it cannot do it answers with [`StoreError::Unsupported`].
pub trait Store: LockStore + SessionStore + LockIndex + LockFeed {}

impl<T: LockStore + SessionStore + LockIndex + LockFeed> Store for T {}

/// A store of locks. Each verb is one atomic step, and safe to repeat.
#[async_trait]
pub trait LockStore: Send + Sync {
    /// Takes the lock, or stands in its queue until `request.wait` is over.
    ///
    /// Dropping the future ends the request: it leaves the queue, and what it was granted
    /// meanwhile is released.
    async fn acquire(&self, request: AcquireRequest) -> Result<Acquisition, StoreError>;

    /// Takes several locks or none, and tries until `request.wait` is over. Dropping the future
    /// ends the request as it does with [`LockStore::acquire`].
    async fn acquire_all(&self, request: AcquireAllRequest) -> Result<AllAcquisition, StoreError>;

    /// Restarts the TTL of a lease, whatever hangs on it; `None` if the lease is gone.
    async fn keep_lease_alive(&self, lease: LeaseId) -> Result<Option<Renewal>, StoreError>;

    /// Restarts the TTL of the lease that holds `key`; `None` if it does not hold it any more.
    async fn keep_alive(
        &self,
        key: &LockKey,
        lease: LeaseId,
    ) -> Result<Option<Renewal>, StoreError>;

    /// Ends a tenure or a request, and hands the lock to whoever is next; `false` if it was over. The
    /// note is left only if there was a tenure: neither by a release that comes too late, nor by the
    /// end of a request that only waited.
    async fn release(&self, key: &LockKey, release: Release) -> Result<bool, StoreError>;

    /// Whether a tenure is current, linearizably; `None` if it is not.
    async fn verify(&self, key: &LockKey, claim: &Claim) -> Result<Option<Verified>, StoreError>;

    /// Ends every tenure of a lock against the will of its holders. Returns who they were.
    async fn force_release(
        &self,
        key: &LockKey,
        order: ForceRelease,
    ) -> Result<LockView, StoreError>;

    /// Who holds and who waits, as of now.
    async fn inspect(&self, key: &LockKey) -> Result<LockView, StoreError>;

    /// Names the life of this store: tokens compare only within one epoch.
    async fn token_epoch(&self) -> Result<String, StoreError>;

    /// What it does beyond one lock at a time; asked before anything is taken that it could not see through.
    fn abilities(&self) -> Abilities;

    /// Whether the store answers.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Ends what this replica keeps running in the store: its waiters, its spare leases.
    async fn close(&self);
}

/// Sessions: leases that carry many locks. They are kept alive by [`LockStore::keep_lease_alive`].
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Begins a session.
    async fn open_session(&self, request: SessionRequest) -> Result<Session, StoreError>;

    /// Ends a session: its tenures are released, its requests leave their queues; `false` if it was
    /// over.
    async fn end_session(&self, id: LeaseId) -> Result<bool, StoreError>;
}

/// The locks there are.
#[async_trait]
pub trait LockIndex: Send + Sync {
    /// Locks that somebody holds or waits for.
    async fn list(&self, page: &PageRequest) -> Result<LockPage, StoreError>;
}

/// What happens to the locks of this store.
pub trait LockFeed: Send + Sync {
    /// Events from now on, in order for each lock, of all replicas. A receiver that is too slow is
    /// told how many it missed; the store may miss some itself while it is away.
    fn events(&self) -> broadcast::Receiver<Arc<LockEvent>>;
}

/// What a store does beyond one lock at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it knows a lease by its id alone, at any replica.
    pub bare_leases: bool,
    /// Whether its events are those of all replicas.
    pub whole_feed: bool,
}

impl Abilities {
    /// Everything there is.
    pub const ALL: Self = Self {
        bare_leases: true,
        whole_feed: true,
    };
}

/// How a tenure is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub claim: Claim,
    /// What the next holder is to read; `None` leaves the note as it is.
    pub note: Option<Note>,
    /// The trace of the call, for the audit log.
    pub trace_id: Option<String>,
}

/// An administrator's word against all holders of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForceRelease {
    /// Why.
    pub reason: Option<String>,
    /// The trace of the call, for the audit log.
    pub trace_id: Option<String>,
}

/// A lease that was kept alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// The life granted.
    pub ttl: Duration,
    /// When it may run out, counted from the send of the keepalive.
    pub until: Until,
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
    /// It never does this.
    #[error("this lock store does not know {0}")]
    Unsupported(&'static str),
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
