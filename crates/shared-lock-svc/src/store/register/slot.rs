//! One lock at this replica: the commands that wait for its next swap, and the requests that are being
//! answered.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, oneshot},
    time::Instant,
};

use super::{
    Core, Fault, Version,
    document::Document,
    handler::{Handler, Stand},
    names, runner,
    sight::Sight,
};
use crate::{
    lease::{LockKey, RequestId},
    state::{Command, Event, Lock, Moment, Outcome},
    store::machine::feed::Origin,
};

pub(super) struct Slot {
    pub(super) key: LockKey,
    /// Its document.
    pub(super) name: String,
    inner: Mutex<Inner>,
    /// Of whoever runs the commands, one at a time.
    pub(super) known: AsyncMutex<Known>,
}

#[derive(Default)]
pub(super) struct Inner {
    items: Vec<Item>,
    is_running: bool,
    pub(super) is_polling: bool,
    pub(super) handlers: BTreeMap<RequestId, Handler>,
    /// The lock as it was seen last.
    pub(super) last: Arc<Lock>,
    used: Option<Instant>,
}

/// The document as it was read or written last.
#[derive(Default)]
pub(super) struct Known {
    pub(super) document: Option<(Document, Option<Version>)>,
    pub(super) sight: Sight,
}

/// A command, and who waits for its outcome.
pub(super) struct Item {
    pub(super) command: Command,
    pub(super) origin: Origin,
    /// Whether the answer has to be true of the register itself, and not only of what a read told.
    pub(super) is_proof: bool,
    pub(super) reply: oneshot::Sender<Result<Done, Fault>>,
}

/// What came of a command.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// The lock after the whole swap.
    pub(super) lock: Arc<Lock>,
    pub(super) at: Moment,
    /// When the swap was sent, or the read: what was given in it lives from then on.
    pub(super) sent: Instant,
}

impl Slot {
    /// How long a lock that nobody asks for is remembered at least: the leases seen in it may be
    /// running out.
    const MEMORY: Duration = Duration::from_secs(60);

    pub(super) fn new(key: LockKey) -> Self {
        Self {
            name: names::document_of(&key),
            key,
            inner: Mutex::default(),
            known: AsyncMutex::default(),
        }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a command that belongs to no call.
    pub(super) async fn ask(
        self: &Arc<Self>,
        core: &Arc<Core>,
        command: Command,
    ) -> Result<Done, Fault> {
        self.ask_for(core, command, Origin::default(), false).await
    }

    /// Asks for a command, and waits until it is known what came of it. Dropping the future does not
    /// take it back.
    pub(super) async fn ask_for(
        self: &Arc<Self>,
        core: &Arc<Core>,
        command: Command,
        origin: Origin,
        is_proof: bool,
    ) -> Result<Done, Fault> {
        let (reply, answer) = oneshot::channel();
        let item = Item {
            command,
            origin,
            is_proof,
            reply,
        };
        self.put(core, vec![item]);
        // The one who runs the commands ends without an answer only with the store.
        answer.await.unwrap_or_else(|_| Err(super::closed()))
    }

    /// Puts commands where the next swap takes them.
    pub(super) fn put(self: &Arc<Self>, core: &Arc<Core>, items: Vec<Item>) {
        let mut inner = self.inner();
        inner.items.extend(items);
        inner.used = Some(Instant::now());
        if !mem::replace(&mut inner.is_running, true) {
            core.spawn(runner::run(Arc::clone(core), Arc::clone(self)));
        }
    }

    /// What is to be done next; with nothing left the runner ends.
    pub(super) fn take(&self, most: usize) -> Vec<Item> {
        let mut inner = self.inner();
        let count = inner.items.len().min(most);
        inner.is_running = count > 0;
        inner.items.drain(..count).collect()
    }

    /// Tells the requests that are being answered how they stand now; `sent` is when the swap was sent
    /// that did it, if one did.
    pub(super) fn show(&self, lock: &Arc<Lock>, events: &[&Event], sent: Option<Instant>) {
        let mut inner = self.inner();
        inner.last = Arc::clone(lock);
        let granted = |event: &&Event| match event {
            Event::Granted(grant) => Some(grant.wish.request_id.clone()),
            _ => None,
        };
        let granted: HashSet<_> = events.iter().filter_map(granted).collect();
        for (request, handler) in &inner.handlers {
            let sent = sent.filter(|_| granted.contains(request));
            handler.see(lock, request, sent);
        }
    }

    /// Whether somebody waits here for the lock.
    pub(super) fn has_waiters(inner: &Inner) -> bool {
        let mut handlers = inner.handlers.values();
        handlers.any(|handler| matches!(handler.stand(), Stand::Waiting))
    }

    /// Whether commands are on their way, or requests being answered.
    pub(super) fn is_busy(&self) -> bool {
        let inner = self.inner();
        inner.is_running || !inner.handlers.is_empty()
    }

    pub(super) fn is_forgotten(&self) -> bool {
        let inner = self.inner();
        let lives = inner.last.grants.iter().map(|grant| grant.wish.ttl);
        let memory = lives.map(|life| life * 2).fold(Self::MEMORY, Duration::max);
        inner.handlers.is_empty()
            && !inner.is_running
            && inner.used.is_none_or(|used| used.elapsed() > memory)
    }
}
