//! The state machine, driven by a clock: what the stores `memory` and `embedded` have in common.
//!
//! Everything that changes a lock goes through [`Shared::apply`], under one mutex that is never held
//! across an await. What a step changed is handed to the journal within the mutex, so the journal
//! sees the steps in their order; nobody is told of a step before the journal says that it is safe.

mod clock;
mod handler;
mod views;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, broadcast},
    task::JoinHandle,
    time::Instant,
};
use uuid::Uuid;

pub(super) use self::clock::Clock;
use self::handler::{Handler, Handling, Look};
use super::{Renewal, StoreError, granted_ttl};
use crate::{
    lease::{
        AcquireRequest, Acquisition, Anchor, Claim, LeaseId, LockEvent, LockKey, LockView, Mode,
        RequestId, Tenure,
    },
    state::{Answer, Change, Command, Event, Moment, Outcome, Table, Wish},
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
    events: broadcast::Sender<Arc<LockEvent>>,
    timer: JoinHandle<()>,
}

struct Shared {
    inner: Mutex<Inner>,
    clock: Clock,
    journal: Option<Box<dyn Journal>>,
    alarm: Arc<Notify>,
}

struct Inner {
    table: Table,
    handlers: HashMap<(LockKey, RequestId), Handler>,
    /// What the timer sleeps until.
    armed: Option<Moment>,
    closed: bool,
}

/// Events that a slow receiver may be behind.
const EVENTS: usize = 4096;

/// How an acquire begins: with an answer, or with a handler that waits for one.
enum Begun {
    Done(Acquisition, u64),
    Handled(Handling),
}

impl Machine {
    /// Starts the clock for the locks of `table`. Must be called on a tokio runtime.
    pub(super) fn start(table: Table, clock: Clock, journal: Option<Box<dyn Journal>>) -> Self {
        let alarm = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                table,
                handlers: HashMap::new(),
                armed: None,
                closed: false,
            }),
            clock,
            journal,
            alarm: Arc::clone(&alarm),
        });
        let timer = tokio::spawn(keep_time(Arc::downgrade(&shared), alarm));
        Self {
            shared,
            events: broadcast::Sender::new(EVENTS),
            timer,
        }
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Arc<LockEvent>> {
        self.events.subscribe()
    }

    pub(super) async fn acquire(&self, request: AcquireRequest) -> Result<Acquisition, StoreError> {
        let deadline = Instant::now() + request.wait;
        let mut handling = match self.begin(request)? {
            Begun::Done(acquisition, position) => {
                self.settled(position).await?;
                return Ok(acquisition);
            }
            Begun::Handled(handling) => handling,
        };
        loop {
            match handling.look()? {
                Look::Granted(position) => {
                    self.settled(position).await?;
                    return Ok(self.confirm(&handling));
                }
                Look::Ended => return Ok(Acquisition::RequestEnded),
                Look::Waiting => {}
            }
            if tokio::time::timeout_at(deadline, handling.woken())
                .await
                .is_err()
                && let Some((held, position)) = self.give_up(&handling)
            {
                self.settled(position).await?;
                return Ok(Acquisition::Held(held));
            }
        }
    }

    pub(super) fn keep_lease_alive(&self, lease: LeaseId) -> Option<Renewal> {
        let key = self.shared.lock().table.key_of(lease)?.clone();
        self.keep_alive(&key, lease)
    }

    pub(super) fn keep_alive(&self, key: &LockKey, lease: LeaseId) -> Option<Renewal> {
        let mut inner = self.shared.lock();
        let outcome = self
            .shared
            .apply(&mut inner, key, Command::KeepAlive(lease));
        let grant = inner.table.lock(key)?.grant.as_ref()?;
        (outcome.answer == Answer::Renewed).then_some(Renewal {
            ttl: grant.wish.ttl,
            remaining: grant.wish.ttl,
        })
    }

    pub(super) async fn release(&self, key: &LockKey, claim: Claim) -> Result<bool, StoreError> {
        let (outcome, position) = {
            let mut inner = self.shared.lock();
            let outcome = self.shared.apply(&mut inner, key, Command::Release(claim));
            (outcome, self.shared.position())
        };
        self.settled(position).await?;
        Ok(outcome.answer == Answer::Released)
    }

    pub(super) async fn inspect(&self, key: &LockKey) -> Result<LockView, StoreError> {
        let (view, position) = {
            let mut inner = self.shared.lock();
            self.shared.apply(&mut inner, key, Command::Tick);
            let now = self.shared.clock.now();
            let view = inner.table.lock(key).map(|lock| views::view(lock, now));
            (view.unwrap_or_default(), self.shared.position())
        };
        self.settled(position).await?;
        Ok(view)
    }

    /// Whether what has been written so far is safe.
    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        self.settled(self.shared.position()).await
    }

    /// Ends every wait, and takes no further request. Holders go on.
    pub(super) fn close(&self) {
        let mut inner = self.shared.lock();
        inner.closed = true;
        inner.handlers.values().for_each(Handler::wake);
    }

    fn begin(&self, request: AcquireRequest) -> Result<Begun, StoreError> {
        let Anchor::Own(ttl) = request.anchor else {
            return Err(StoreError::Unsupported("sessions"));
        };
        if request.mode != Mode::Exclusive {
            return Err(StoreError::Unsupported("this mode"));
        }
        let ttl = granted_ttl(ttl)?;
        let shared = &self.shared;
        let mut inner = shared.lock();
        if inner.closed {
            return Err(closed());
        }
        let id = (request.key, request.request_id);
        if let Some(handler) = inner.handlers.get_mut(&id) {
            return Ok(Begun::Handled(handler.join(shared, id)));
        }
        let wish = Wish {
            request_id: id.1.clone(),
            holder: request.holder,
            metadata: request.metadata,
            lease_id: inner.fresh_lease(),
            ttl,
        };
        let wait = request.wait;
        let outcome = shared.apply(&mut inner, &id.0, Command::Acquire { wish, wait });
        let acquisition = match outcome.answer {
            Answer::Granted | Answer::Queued => {
                let (handler, handling) = Handler::new(shared, id.clone());
                inner.handlers.insert(id, handler);
                return Ok(Begun::Handled(handling));
            }
            Answer::Known => Acquisition::RequestKnown,
            Answer::Ended => Acquisition::RequestEnded,
            _ => Acquisition::Held(views::held(inner.table.lock(&id.0), shared.clock.now())),
        };
        Ok(Begun::Done(acquisition, shared.position()))
    }

    /// The lease lives anew from the moment its holder is told of it. That nobody is told of a
    /// tenure that is over holds also when the journal took longer than the lease.
    fn confirm(&self, handling: &Handling) -> Acquisition {
        let (key, request) = handling.id();
        let mut inner = self.shared.lock();
        let grant = inner
            .table
            .lock(key)
            .and_then(|lock| lock.grant_of(request));
        let Some(grant) = grant.cloned() else {
            return Acquisition::RequestEnded;
        };
        let lease = grant.wish.lease_id;
        let outcome = self
            .shared
            .apply(&mut inner, key, Command::KeepAlive(lease));
        if outcome.answer != Answer::Renewed {
            return Acquisition::RequestEnded;
        }
        if let Some(handler) = inner.handlers.get_mut(handling.id()) {
            handler.told = true;
        }
        Acquisition::Acquired(Tenure {
            lease_id: lease,
            fencing_token: grant.token,
            ttl: grant.wish.ttl,
            remaining: grant.wish.ttl,
            note: None,
        })
    }

    /// The wait is over. `None` when the lock came just now, or the request was ended.
    fn give_up(&self, handling: &Handling) -> Option<(crate::lease::Held, u64)> {
        let (key, request) = handling.id();
        let mut inner = self.shared.lock();
        let alone = inner
            .handlers
            .get(handling.id())
            .is_none_or(Handler::is_alone);
        if alone {
            let command = Command::GiveUp(request.clone());
            if self.shared.apply(&mut inner, key, command).answer != Answer::Held {
                return None;
            }
        } else if handling.look_in(&inner, self.shared.position()) != Look::Waiting {
            return None;
        }
        let held = views::held(inner.table.lock(key), self.shared.clock.now());
        Some((held, self.shared.position()))
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
        self.timer.abort();
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

    fn apply(&self, inner: &mut Inner, key: &LockKey, command: Command) -> Outcome {
        let outcome = inner.table.step(key, command, self.clock.now());
        self.follow_up(inner, key, &outcome);
        outcome
    }

    /// What a step entails: its changes go to the journal, those it concerns are woken, and the
    /// timer learns when it is needed next.
    fn follow_up(&self, inner: &mut Inner, key: &LockKey, outcome: &Outcome) {
        if let Some(journal) = &self.journal {
            let changes = inner.table.changes(key, outcome);
            if !changes.is_empty() {
                journal.write(changes, inner.table.last_token());
            }
        }
        for event in &outcome.events {
            if let Event::Granted(request) | Event::Ended(request, _) = event
                && let Some(handler) = inner.handlers.get(&(key.clone(), request.clone()))
            {
                handler.wake();
            }
        }
        let next = inner.table.next_alarm();
        if next.is_some_and(|next| inner.armed.is_none_or(|armed| next < armed)) {
            inner.armed = next;
            self.alarm.notify_one();
        }
    }

    /// Lets time pass, and says when it is to be called again.
    fn tick(&self) -> Option<Duration> {
        let mut inner = self.lock();
        let now = self.clock.now();
        for (key, outcome) in inner.table.tick(now) {
            self.follow_up(&mut inner, &key, &outcome);
        }
        inner.armed = inner.table.next_alarm();
        inner.armed.map(|next| next.since(now))
    }
}

impl Inner {
    /// A lease id that nobody has: a positive int64, as etcd's, and not to be guessed.
    fn fresh_lease(&self) -> LeaseId {
        loop {
            let (high, low) = Uuid::new_v4().as_u64_pair();
            let lease = LeaseId(((high ^ low.rotate_left(32)) >> 1).cast_signed());
            if lease.0 != 0 && self.table.key_of(lease).is_none() {
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
