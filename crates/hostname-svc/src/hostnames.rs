//! The public verbs: allocate a hostname, find one, list them.

mod listing;
mod stems;
mod sweeper;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use uuid::Uuid;

pub use self::listing::{Deleted, Filter, Page, Position};
use self::stems::Stems;
use crate::{
    allocator::{AllocateError, Allocation, Allocator, Wish, read},
    documents::{GivenUp, KeyHash, Record, StoredRecord, layout},
    hostname::Hostname,
    locks::LockError,
    metrics::Metrics,
    store::{DocumentStore, Read, StoreError},
};

/// Caller of everybody, as long as callers have no names.
const ANYBODY: &str = "anonymous";

/// The hostnames of all prefixes.
pub struct Hostnames {
    store: Arc<dyn DocumentStore>,
    allocator: Allocator,
    stems: Stems,
    metrics: Metrics,
    budget: Duration,
}

/// How a call for a hostname ended.
#[derive(Debug)]
pub enum Outcome {
    /// The hostname is new.
    Created(Record),
    /// The idempotency key was given this hostname before.
    Replayed(Record),
}

/// Why a call came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HostnameError {
    /// The idempotency key was used with another body.
    #[error("this Idempotency-Key was used with another request body")]
    KeyReused,
    /// There will be no name.
    #[error("{0}")]
    GivenUp(GivenUp),
    /// It was given out, and its record was deleted.
    #[error(
        "the hostname {0} was given out; its record was deleted by hand, and the name stays taken"
    )]
    RecordDeleted(Hostname),
    /// Nobody could be given a name, or the store did not tell.
    #[error(transparent)]
    Failed(#[from] AllocateError),
}

impl From<StoreError> for HostnameError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Hostnames {
    /// Hostnames in `store`, numbered by `allocator`; a call takes at most `budget`.
    pub fn new(
        store: Arc<dyn DocumentStore>,
        allocator: Allocator,
        metrics: Metrics,
        budget: Duration,
    ) -> Self {
        Self {
            stems: Stems::new(Arc::clone(&store)),
            store,
            allocator,
            metrics,
            budget,
        }
    }

    /// Gives out the next hostname of a prefix; with an idempotency key the same one each time.
    ///
    /// # Errors
    /// [`HostnameError`]
    pub async fn allocate(&self, wish: Wish, key: Option<&str>) -> Result<Outcome, HostnameError> {
        let outcome = self.try_allocate(wish, key).await;
        let result = match &outcome {
            Ok(Outcome::Created(_)) => "created",
            Ok(Outcome::Replayed(_)) => "replayed",
            Err(error) => error.result(),
        };
        self.metrics.allocations.with_label_values(&[result]).inc();
        outcome
    }

    async fn try_allocate(&self, wish: Wish, key: Option<&str>) -> Result<Outcome, HostnameError> {
        let deadline = Instant::now() + self.budget;
        let key = key.map(|key| KeyHash::new(ANYBODY, key));
        let request_id = Uuid::now_v7().to_string();
        self.in_time(self.stems.check(&wish.prefix)).await?;
        let allocated = self.allocator.allocate(wish, key, &request_id, deadline);
        match allocated.await? {
            Allocation::Named(records) => match records.into_iter().next() {
                Some(record) if record.facts.request_id == request_id => {
                    Ok(Outcome::Created(record))
                }
                Some(record) => Ok(Outcome::Replayed(record)),
                None => Err(AllocateError::Internal.into()),
            },
            Allocation::KeyReused => Err(HostnameError::KeyReused),
            Allocation::GivenUp(why) => Err(HostnameError::GivenUp(why)),
        }
    }

    /// The record of a hostname, if it was ever given out.
    ///
    /// # Errors
    /// Its record was deleted, or the store did not tell.
    pub async fn find(&self, hostname: &Hostname) -> Result<Option<Record>, HostnameError> {
        let path = layout::record(hostname);
        let found = async { Ok(read::<StoredRecord>(&self.store, &path).await?) };
        match self.in_time(found).await? {
            Read::Present { data, .. } => Ok(data.ours()),
            Read::Absent => Ok(None),
            Read::Deleted { .. } => Err(HostnameError::RecordDeleted(hostname.clone())),
        }
    }

    /// A page of hostnames, by application, role, environment and counter.
    ///
    /// # Errors
    /// The store did not tell.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Page, HostnameError> {
        self.in_time(listing::list(&self.store, filter, after, limit))
            .await
    }

    /// Finishes, from time to time, what a replica left that is gone, where nobody has asked since.
    pub async fn sweep_for_ever(&self, interval: Duration) {
        sweeper::sweep_for_ever(&self.store, &self.allocator, interval).await;
    }

    /// Ends what runs in the background, and gives the locks back.
    pub async fn close(&self, within: Duration) {
        self.allocator.close(within).await;
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, HostnameError>>,
    ) -> Result<T, HostnameError> {
        match timeout(self.budget, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AllocateError::Timeout.into()),
        }
    }
}

impl HostnameError {
    /// What the metrics call it.
    fn result(&self) -> &'static str {
        match self {
            Self::KeyReused => "key_reused",
            Self::Failed(AllocateError::Ambiguous(_)) => "ambiguous_prefix",
            Self::GivenUp(_) => "given_up",
            Self::Failed(AllocateError::QueueFull) => "queue_full",
            Self::Failed(AllocateError::Lock(LockError::Timeout)) => "lock_timeout",
            Self::Failed(
                AllocateError::Lock(LockError::Unavailable(_) | LockError::Refused(_))
                | AllocateError::Fenced { .. },
            ) => "lock_unavailable",
            Self::Failed(AllocateError::Store(_)) => "store_unavailable",
            Self::Failed(AllocateError::Timeout) => "timeout",
            Self::RecordDeleted(_)
            | Self::Failed(
                AllocateError::Deleted(_) | AllocateError::Unreadable(_) | AllocateError::Internal,
            ) => "failed",
        }
    }
}
