//! Allocations that their callers do not wait for: written down first, then carried out, by whichever replica is there.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use uuid::Uuid;

use super::{ANYBODY, HostnameError, Hostnames, check_numbers, key_of_import};
use crate::{
    allocator::{AllocateError, Want, Wish, json, read},
    documents::{Format, KeyHash, Moment, Operation, Outcome, layout},
    store::{Child, DocumentStore, Read, StoreError, Write},
};

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// Before a write whose reply was lost is made again.
const SHORT_PAUSE: Duration = Duration::from_millis(20);
/// For so long it is tried, and so old is what is looked for.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How many are carried out at a time; further ones are told to come again.
const RUNNING: usize = 10_000;
/// How many that have ended are remembered.
const REMEMBERED: usize = 100_000;

/// The operations of this process.
pub(super) struct Operations {
    runtime: Handle,
    places: Arc<Semaphore>,
    known: Mutex<HashSet<Uuid>>,
}

impl Operations {
    /// # Panics
    /// Outside a Tokio runtime.
    pub(super) fn new() -> Self {
        Self {
            runtime: Handle::current(),
            places: Arc::new(Semaphore::new(RUNNING)),
            known: Mutex::default(),
        }
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, AllocateError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| AllocateError::QueueFull)
    }

    /// Notes that an operation is carried out here, or has ended; tells whether that is new.
    fn note(&self, id: Uuid) -> bool {
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(id)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hostnames {
    /// Writes down that hostnames are wanted, and sees to it that they are given out, if not by this process then by another.
    ///
    /// # Errors
    /// It would be refused in any case, or could not be written down.
    pub async fn begin(
        self: Arc<Self>,
        wish: Wish,
        key: Option<&str>,
    ) -> Result<Operation, HostnameError> {
        let policy = self.admit(&wish.prefix)?;
        check_numbers(&wish, &policy)?;
        let place = self.operations.place()?;
        let id = Uuid::now_v7();
        let key = match (key, &wish.want) {
            (Some(key), _) => KeyHash::new(ANYBODY, key),
            (None, Want::Chosen(_)) => key_of_import(&wish)?,
            (None, _) => KeyHash::new("operation", &id.to_string()),
        };
        let operation = Operation {
            format: Format,
            id,
            created_at: Moment::now(),
            key,
            wish,
            outcome: None,
        };
        self.in_time(write(&self.store, 0, &operation)).await?;
        self.carry_out(operation.clone(), place);
        Ok(operation)
    }

    /// An operation, if there is one.
    ///
    /// # Errors
    /// The store did not tell.
    pub async fn operation(&self, id: &Uuid) -> Result<Option<Operation>, HostnameError> {
        self.in_time(look_up(&self.store, id)).await
    }

    /// Goes on with what replicas left that are gone. One that another replica is busy with is carried out twice, and its
    /// hostnames are the same.
    pub(super) async fn resume_operations(self: &Arc<Self>) -> Result<(), HostnameError> {
        let Some(today) = Operation::day(&Uuid::now_v7()) else {
            return Ok(());
        };
        for day in [today - 1, today] {
            for child in self.store.list(&layout::operations(day)).await? {
                let (Child::Document(name) | Child::Folder(name)) = child;
                let Ok(id) = name.parse::<Uuid>() else {
                    continue;
                };
                if self.operations.known().contains(&id) {
                    continue;
                }
                if let Some(operation) = look_up(&self.store, &id).await? {
                    let place = self.operations.place()?;
                    Arc::clone(self).carry_out(operation, place);
                }
            }
        }
        Ok(())
    }

    fn carry_out(self: Arc<Self>, operation: Operation, place: OwnedSemaphorePermit) {
        if self.operations.note(operation.id) && operation.outcome.is_none() {
            let runtime = self.operations.runtime.clone();
            runtime.spawn(async move {
                let _place = place;
                self.run(operation).await;
            });
        }
    }

    async fn run(&self, mut operation: Operation) {
        let begun = operation.id.get_timestamp().map(|it| it.to_unix().0);
        loop {
            let (wish, key) = (operation.wish.clone(), Some(operation.key.clone()));
            let outcome = match self.allocate_for(wish, key).await {
                Ok(given) => Some(Outcome::Named(given.records)),
                Err(HostnameError::KeyReused) => Some(Outcome::KeyReused),
                Err(HostnameError::GivenUp(why)) => Some(Outcome::GivenUp(why)),
                Err(HostnameError::Failed(AllocateError::Ambiguous(owner))) => {
                    Some(Outcome::Ambiguous(owner))
                }
                Err(error) => {
                    tracing::debug!("operation {} goes on: {error}", operation.id);
                    begun.filter(is_over).map(|_| Outcome::Expired)
                }
            };
            if outcome.is_some() {
                operation.outcome = outcome;
                break;
            }
            sleep(PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
        }
        while let Err(error) = write(&self.store, 1, &operation).await {
            tracing::debug!(
                "the end of operation {} is not written: {error}",
                operation.id
            );
            sleep(PAUSE).await;
        }
    }
}

/// Whether what began then has been tried for long enough.
fn is_over(begun: &u64) -> bool {
    let now = Uuid::now_v7().get_timestamp().map(|it| it.to_unix().0);
    now.is_some_and(|now| now > begun + LIFE.as_secs())
}

async fn look_up(
    store: &Arc<dyn DocumentStore>,
    id: &Uuid,
) -> Result<Option<Operation>, HostnameError> {
    let Some(path) = layout::operation(id) else {
        return Ok(None);
    };
    match read::<Operation>(store, &path).await? {
        Read::Present { data, .. } => Ok(Some(data)),
        Read::Absent => Ok(None),
        Read::Deleted { .. } => Err(AllocateError::Deleted("operation").into()),
    }
}

/// Writes an operation, until it is known to be there. Where somebody has written its end, that stays.
async fn write(
    store: &Arc<dyn DocumentStore>,
    cas: u64,
    operation: &Operation,
) -> Result<(), HostnameError> {
    let path = layout::operation(&operation.id).ok_or(AllocateError::Internal)?;
    let document = json(&path, operation)?;
    loop {
        match store.write(&path, cas, &document).await {
            Ok(Write::Written | Write::Mismatch) => return Ok(()),
            Err(StoreError::Unknown(_)) => sleep(SHORT_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}
