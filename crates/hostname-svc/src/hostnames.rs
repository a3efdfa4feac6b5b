//! The public verbs: allocate hostnames, preview, import, find, list and retire them.

mod listing;
mod operations;
mod prefixes;
mod preview;
mod retirement;
mod stems;
mod sweeper;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

pub use self::{
    listing::{Deleted, Filter, Page, Position, decode, encode},
    prefixes::{PrefixPage, PrefixPosition, PrefixState},
    preview::Outlook,
};
use self::{operations::Operations, stems::Stems};
use crate::{
    allocator::{AllocateError, Allocation, Allocator, Want, Wish, read},
    documents::{Format, GivenUp, KeyHash, Moment, Record, Retirement, StoredRecord, layout},
    hostname::{Counter, Hostname, InvalidField, Prefix, Shape},
    locks::LockError,
    metrics::Metrics,
    policy::Policy,
    store::{DocumentStore, Read, StoreError},
};

/// Caller of everybody, as long as callers have no names.
const ANYBODY: &str = "anonymous";

/// The hostnames of all prefixes.
pub struct Hostnames {
    store: Arc<dyn DocumentStore>,
    allocator: Allocator,
    stems: Stems,
    operations: Operations,
    metrics: Metrics,
    budget: Duration,
}

/// What a call was given.
#[derive(Debug)]
pub struct Given {
    /// The hostnames, in the order of their numbers; at least one.
    pub records: Vec<Record>,
    /// The idempotency key was given them before.
    pub replayed: bool,
}

/// A hostname that was given out.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// What was written when it was.
    pub record: Record,
    /// That it is not in use any more.
    pub retirement: Option<Retirement>,
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
    /// The policy of the prefix does not allow it.
    #[error("the policy of the prefix does not allow it")]
    NotAllowed(Vec<InvalidField>),
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
            operations: Operations::new(),
            store,
            allocator,
            metrics,
            budget,
        }
    }

    /// Gives out hostnames of a prefix; with an idempotency key the same ones each time. An import without
    /// a key is known by what it asks.
    ///
    /// # Errors
    /// [`HostnameError`]
    pub async fn allocate(&self, wish: Wish, key: Option<&str>) -> Result<Given, HostnameError> {
        let key = match (key, &wish.want) {
            (Some(key), _) => Some(KeyHash::new(ANYBODY, key)),
            (None, Want::Chosen(_)) => Some(key_of_import(&wish)?),
            (None, _) => None,
        };
        self.allocate_for(wish, key).await
    }

    async fn allocate_for(&self, wish: Wish, key: Option<KeyHash>) -> Result<Given, HostnameError> {
        let outcome = self.try_allocate(wish, key).await;
        let result = match &outcome {
            Ok(Given {
                replayed: false, ..
            }) => "created",
            Ok(Given { replayed: true, .. }) => "replayed",
            Err(error) => error.result(),
        };
        self.metrics.allocations.with_label_values(&[result]).inc();
        outcome
    }

    async fn try_allocate(&self, wish: Wish, key: Option<KeyHash>) -> Result<Given, HostnameError> {
        let deadline = Instant::now() + self.budget;
        let request_id = new_request_id();
        let policy = self.admit(&wish.prefix)?;
        check_numbers(&wish, &policy)?;
        self.in_time(self.stems.check(&wish.prefix, &policy.shape))
            .await?;
        let allocated = self.allocator.allocate(wish, key, &request_id, deadline);
        match allocated.await? {
            Allocation::Named(records) => match records.first() {
                Some(first) => Ok(Given {
                    replayed: first.facts.request_id != request_id,
                    records,
                }),
                None => Err(AllocateError::Internal.into()),
            },
            Allocation::KeyReused => Err(HostnameError::KeyReused),
            Allocation::GivenUp(why) => Err(HostnameError::GivenUp(why)),
        }
    }

    /// The next hostnames of a prefix, which are not reserved by that.
    ///
    /// # Errors
    /// There are none, or the store did not tell.
    pub async fn preview(
        &self,
        prefix: &Prefix,
        count: usize,
    ) -> Result<Vec<(Counter, Hostname)>, HostnameError> {
        let policy = self.admit(prefix)?;
        self.in_time(async {
            self.stems.check(prefix, &policy.shape).await?;
            preview::next(&self.store, prefix, &policy, count).await
        })
        .await
    }

    /// What an import of these numbers would do.
    ///
    /// # Errors
    /// The prefix cannot be told from another, or the store did not tell.
    pub async fn preview_import(
        &self,
        prefix: &Prefix,
        chosen: &[Counter],
    ) -> Result<Outlook, HostnameError> {
        let policy = self.admit(prefix)?;
        self.in_time(async {
            self.stems.check(prefix, &policy.shape).await?;
            preview::import(&self.store, prefix, &policy, chosen).await
        })
        .await
    }

    /// A hostname, if it was ever given out.
    ///
    /// # Errors
    /// Its record was deleted, or the store did not tell.
    pub async fn find(&self, hostname: &Hostname) -> Result<Option<Found>, HostnameError> {
        self.in_time(async {
            let Some(record) = self.record(hostname).await? else {
                return Ok(None);
            };
            let retirement = retirement::look_up(&self.store, &record).await?;
            Ok(Some(Found { record, retirement }))
        })
        .await
    }

    /// Writes down that a hostname is not in use any more, if it was ever given out. The first time counts.
    ///
    /// # Errors
    /// Its record was deleted, or the store did not tell.
    pub async fn retire(
        &self,
        hostname: &Hostname,
        reason: String,
        requested_by: Option<String>,
    ) -> Result<Option<Found>, HostnameError> {
        self.in_time(async {
            let Some(record) = self.record(hostname).await? else {
                return Ok(None);
            };
            let retirement = Retirement {
                format: Format,
                hostname: hostname.clone(),
                retired_at: Moment::now(),
                request_id: new_request_id(),
                reason,
                requested_by,
            };
            let retirement = retirement::retire(&self.store, &record, retirement).await?;
            Ok(Some(Found {
                record,
                retirement: Some(retirement),
            }))
        })
        .await
    }

    async fn record(&self, hostname: &Hostname) -> Result<Option<Record>, HostnameError> {
        match read::<StoredRecord>(&self.store, &layout::record(hostname)).await? {
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

    /// A prefix and its counter, if it has one.
    ///
    /// # Errors
    /// The counter was deleted, or the store did not tell.
    pub async fn prefix(&self, prefix: Prefix) -> Result<Option<PrefixState>, HostnameError> {
        self.in_time(prefixes::find(&self.store, prefix)).await
    }

    /// A page of prefixes, by application, role and environment.
    ///
    /// # Errors
    /// The store did not tell.
    pub async fn prefixes(
        &self,
        filter: &Filter,
        after: Option<&PrefixPosition>,
        limit: usize,
    ) -> Result<PrefixPage, HostnameError> {
        self.in_time(prefixes::list(&self.store, filter, after, limit))
            .await
    }

    /// Sees to it that no number up to `floor` is given out any more. A floor below the counter changes
    /// nothing.
    ///
    /// # Errors
    /// [`HostnameError`]
    pub async fn raise_floor(
        &self,
        prefix: Prefix,
        floor: u64,
    ) -> Result<PrefixState, HostnameError> {
        let deadline = Instant::now() + self.budget;
        let policy = self.admit(&prefix)?;
        self.in_time(self.stems.check(&prefix, &policy.shape))
            .await?;
        let request_id = new_request_id();
        let raised = self
            .allocator
            .raise(prefix.clone(), floor, &request_id, deadline);
        Ok(PrefixState {
            counter: Some(raised.await?),
            prefix,
        })
    }

    /// Finishes, from time to time, what a replica left that is gone, where nobody has asked since.
    pub async fn sweep_for_ever(self: Arc<Self>, interval: Duration) {
        loop {
            sweeper::told(self.resume_operations().await);
            let nearly_full = &self.metrics.nearly_full;
            sweeper::told(sweeper::sweep_once(&self.store, &self.allocator, nearly_full).await);
            sleep(interval).await;
        }
    }

    /// Ends what runs in the background, and gives the locks back.
    pub async fn close(&self, within: Duration) {
        self.allocator.close(within).await;
    }

    /// What the next hostnames of a prefix look like.
    pub fn shape(&self, prefix: &Prefix) -> Shape {
        self.allocator.policy(prefix).shape
    }

    /// What holds for a prefix, if hostnames of it may be given out.
    fn admit(&self, prefix: &Prefix) -> Result<Policy, HostnameError> {
        let policy = self.allocator.policy(prefix);
        policy.check(prefix).map_err(HostnameError::NotAllowed)?;
        Ok(policy)
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

/// Chosen numbers must have hostnames.
fn check_numbers(wish: &Wish, policy: &Policy) -> Result<(), HostnameError> {
    let Want::Chosen(chosen) = &wish.want else {
        return Ok(());
    };
    let last = policy.shape.last(&wish.prefix);
    if chosen.iter().all(|number| number.get() <= last) {
        return Ok(());
    }
    let allowed = format!("the highest number of this prefix is {last}");
    Err(HostnameError::NotAllowed(vec![InvalidField::new(
        "counters", allowed,
    )]))
}

fn new_request_id() -> String {
    Uuid::now_v7().to_string()
}

/// An import is the same when it asks the same: so its retry is known without a key of the caller's.
fn key_of_import(wish: &Wish) -> Result<KeyHash, AllocateError> {
    let asked = serde_json::to_string(wish).map_err(|_| AllocateError::Internal)?;
    Ok(KeyHash::new("import", &asked))
}

impl HostnameError {
    /// What the metrics call it.
    fn result(&self) -> &'static str {
        match self {
            Self::KeyReused => "key_reused",
            Self::Failed(AllocateError::Ambiguous(_)) => "ambiguous_prefix",
            Self::GivenUp(GivenUp::Quota) => "quota_exceeded",
            Self::GivenUp(_) => "given_up",
            Self::NotAllowed(_) => "not_allowed",
            Self::Failed(AllocateError::QueueFull) => "queue_full",
            Self::Failed(AllocateError::Lock(LockError::Timeout)) => "lock_timeout",
            Self::Failed(
                AllocateError::Lock(LockError::Unavailable(_) | LockError::Refused(_))
                | AllocateError::Fenced { .. },
            ) => "lock_unavailable",
            Self::Failed(AllocateError::Regressed { .. }) => "counter_regressed",
            Self::Failed(AllocateError::Store(_)) => "store_unavailable",
            Self::Failed(AllocateError::Timeout) => "timeout",
            Self::RecordDeleted(_)
            | Self::Failed(
                AllocateError::Deleted(_) | AllocateError::Unreadable(_) | AllocateError::Internal,
            ) => "failed",
        }
    }
}
