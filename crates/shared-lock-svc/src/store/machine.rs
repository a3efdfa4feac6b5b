//! The state machine, driven by a clock: what the stores `memory` and `embedded` have in common.
//!
//! Everything that changes a lock goes through [`Shared::apply`], under one mutex that is never held
//! across an await. What a step changed is handed to the journal within the mutex, so the journal
//! sees the steps in their order; nobody is told of a step before the journal says that it is safe.

mod acquire;
mod all;
mod calls;
mod clock;
pub(super) mod feed;
mod handler;
mod verbs;
pub(super) mod views;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Notify, task::JoinHandle};
use uuid::Uuid;

pub(super) use self::{clock::Clock, verbs::OnMachine};
use self::{
    feed::{Feed, Origin},
    handler::Handler,
};
use super::{StoreError, granted_ttl};
use crate::{
    lease::{LeaseId, LockKey, RequestId},
    state::{Answer, Change, Event, Moment, Moved, Table},
};

/// Where changes go before anybody hears of them.
#[async_trait]
pub(super) trait Journal: Send + Sync {
    /// Takes what a step changed, and the largest token after it. Called in the order of the steps.
    fn write(&self, changes: Vec<Change>, last_token: u64);

    /// How much has been written so far.
    fn position(&self) -> u64;

    /// Resolves once everything up to `position` is safe.
    async fn settled(&self, position: u64) -> Result<(), StoreError>;
}

/// Locks that move by themselves: leases run out, waiters are woken. Dropping it stops the clock.
pub(super) struct Machine {
    shared: Arc<Shared>,
    epoch: String,
    tasks: [JoinHandle<()>; 2],
}

struct Shared {
    inner: Mutex<Inner>,
    clock: Clock,
    journal: Option<Arc<dyn Journal>>,
    alarm: Arc<Notify>,
    feed: Feed,
}

struct Inner {
    table: Table,
    handlers: HashMap<(LockKey, RequestId), Handler>,
    /// Requests for several locks that are to look again when one of them changes.
    onlookers: HashMap<LockKey, HashMap<RequestId, Arc<Notify>>>,
    /// What the timer sleeps until.
    armed: Option<Moment>,
    closed: bool,
}

/// What was answered, and how far the journal must be before it may be told.
type Told<T> = (T, u64);

impl Machine {
    /// Starts the clock for the locks of `table`, whose tokens compare within `epoch`. Must be called
    /// on a tokio runtime.
    pub(super) fn start(
        table: Table,
        clock: Clock,
        epoch: String,
        journal: Option<Arc<dyn Journal>>,
    ) -> Self {
        let alarm = Arc::new(Notify::new());
        let (feed, telling) = Feed::start(journal.clone(), clock.now());
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                table,
                handlers: HashMap::new(),
                onlookers: HashMap::new(),
                armed: None,
                closed: false,
            }),
            clock,
            journal,
            alarm: Arc::clone(&alarm),
            feed,
        });
        let timer = tokio::spawn(keep_time(Arc::downgrade(&shared), alarm));
        Self {
            shared,
            epoch,
            tasks: [timer, telling],
        }
    }

    /// Whether what has been written so far is safe.
    async fn ready(&self) -> Result<(), StoreError> {
        self.settled(self.shared.position()).await
    }

    /// Ends every wait, and takes no further request. Holders go on.
    async fn close(&self) {
        {
            let mut inner = self.shared.lock();
            inner.closed = true;
            inner.handlers.values().for_each(Handler::wake);
            let onlookers = inner.onlookers.values().flat_map(HashMap::values);
            onlookers.for_each(|onlooker| onlooker.notify_one());
        }
        if let Err(err) = self.ready().await {
            tracing::warn!("the last changes may not have reached the disk: {err}");
        }
    }

    async fn told<T>(&self, (answer, position): Told<T>) -> Result<T, StoreError> {
        self.settled(position).await?;
        Ok(answer)
    }

    async fn settled(&self, position: u64) -> Result<(), StoreError> {
        match &self.shared.journal {
            Some(journal) => journal.settled(position).await,
            None => Ok(()),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn position(&self) -> u64 {
        self.journal
            .as_ref()
            .map_or(0, |journal| journal.position())
    }

    /// Moves the table by a call that needs nothing else.
    fn ask(&self, origin: Origin, step: impl FnOnce(&mut Table, Moment) -> Moved) -> Told<Answer> {
        let mut inner = self.lock();
        let answer = self.apply(&mut inner, origin, step);
        (answer, self.position())
    }

    /// Moves the table, and sees to what that entails: its changes go to the journal, those it
    /// concerns are woken, and the timer learns when it is needed next.
    fn apply(
        &self,
        inner: &mut Inner,
        origin: Origin,
        step: impl FnOnce(&mut Table, Moment) -> Moved,
    ) -> Answer {
        let moved = step(&mut inner.table, self.clock.now());
        if let Some(journal) = &self.journal
            && !moved.changes.is_empty()
        {
            journal.write(moved.changes, inner.table.last_token());
        }
        for (key, event) in &moved.events {
            inner.hear(key, event);
        }
        self.feed.tell(&moved.events, &origin, self.position());
        let next = inner.table.next_alarm();
        if next.is_some_and(|next| inner.armed.is_none_or(|armed| next < armed)) {
            inner.armed = next;
            self.alarm.notify_one();
        }
        moved.answer
    }

    /// Lets time pass for whatever is due, and says what time it is.
    fn pass_time(&self, inner: &mut Inner) -> Moment {
        self.apply(inner, Origin::default(), Table::tick);
        self.clock.now()
    }

    /// Lets time pass, and says when it is to be called again.
    fn tick(&self) -> Option<Duration> {
        let mut inner = self.lock();
        let now = self.pass_time(&mut inner);
        inner.armed = inner.table.next_alarm();
        inner.armed.map(|next| next.since(now))
    }
}

impl Inner {
    fn is_open(&self) -> Result<(), StoreError> {
        if self.closed { Err(closed()) } else { Ok(()) }
    }

    /// Tells those whom an event concerns.
    fn hear(&mut self, key: &LockKey, event: &Event) {
        let (request, over) = match event {
            Event::Granted(grant) => (Some(&grant.wish.request_id), None),
            Event::Ended(grant, cause) => (
                Some(&grant.wish.request_id),
                Some((grant.wish.in_session, *cause)),
            ),
            Event::Left(wish, cause) => (Some(&wish.request_id), Some((wish.in_session, *cause))),
            Event::Barred(_) | Event::Rested => (None, None),
            Event::Queued(_) | Event::Forgotten(_) | Event::Resting(_) | Event::Noted(_) => return,
        };
        if let Some(request) = request
            && let Some(handler) = self.handlers.get_mut(&(key.clone(), request.clone()))
        {
            handler.over = over;
            handler.wake();
        }
        if let Some(onlookers) = self.onlookers.get(key) {
            onlookers
                .values()
                .for_each(|onlooker| onlooker.notify_one());
        }
    }

    /// A lease id that nobody has: a positive int64, as etcd's, and not to be guessed.
    fn fresh_lease(&self) -> LeaseId {
        loop {
            let (high, low) = Uuid::new_v4().as_u64_pair();
            let lease = LeaseId(((high ^ low.rotate_left(32)) >> 1).cast_signed());
            if lease.0 != 0 && self.table.is_unused(lease) {
                return lease;
            }
        }
    }
}

async fn keep_time(shared: Weak<Shared>, alarm: Arc<Notify>) {
    loop {
        let Some(next) = shared.upgrade().map(|shared| shared.tick()) else {
            return;
        };
        match next {
            Some(next) => tokio::select! {
                () = tokio::time::sleep(next) => (),
                () = alarm.notified() => (),
            },
            None => alarm.notified().await,
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable(anyhow::anyhow!("this replica is shutting down"))
}
