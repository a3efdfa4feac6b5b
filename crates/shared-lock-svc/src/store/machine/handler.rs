//! The acquires that are being answered right now.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Inner, Shared, StoreError, closed};
use crate::{
    lease::{Claim, LockKey, RequestId},
    state::Command,
};

/// What the machine knows of a running acquire. The same request arriving again joins it.
pub(super) struct Handler {
    wake: watch::Sender<()>,
    callers: usize,
    /// Whether a caller was told that it holds the lock: then it is theirs to release.
    pub(super) told: bool,
}

/// One caller's part in a running acquire. When the last one is dropped and nobody was told of a
/// lock, the request ends: it leaves the queue, and what it was granted is released.
pub(super) struct Handling {
    shared: Arc<Shared>,
    id: (LockKey, RequestId),
    woken: watch::Receiver<()>,
}

/// How a running acquire stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It holds the lock, once the journal has settled up to there.
    Granted(u64),
    /// It stands in the queue.
    Waiting,
    /// It was ended.
    Ended,
}

impl Handler {
    pub(super) fn new(shared: &Arc<Shared>, id: (LockKey, RequestId)) -> (Self, Handling) {
        let mut handler = Self {
            wake: watch::Sender::new(()),
            callers: 0,
            told: false,
        };
        let handling = handler.join(shared, id);
        (handler, handling)
    }

    pub(super) fn join(&mut self, shared: &Arc<Shared>, id: (LockKey, RequestId)) -> Handling {
        self.callers += 1;
        Handling {
            shared: Arc::clone(shared),
            id,
            woken: self.wake.subscribe(),
        }
    }

    pub(super) fn wake(&self) {
        self.wake.send_replace(());
    }

    pub(super) fn is_alone(&self) -> bool {
        self.callers == 1
    }
}

impl Handling {
    pub(super) fn id(&self) -> &(LockKey, RequestId) {
        &self.id
    }

    /// Resolves when there may be something new to look at; never misses any of it.
    pub(super) async fn woken(&mut self) {
        // The sender lives in the machine until the last caller is gone.
        let _ = self.woken.changed().await;
    }

    pub(super) fn look(&self) -> Result<Look, StoreError> {
        let inner = self.shared.lock();
        let look = self.look_in(&inner, self.shared.position());
        if look == Look::Waiting && inner.closed {
            return Err(closed());
        }
        Ok(look)
    }

    pub(super) fn look_in(&self, inner: &Inner, position: u64) -> Look {
        let (key, request) = &self.id;
        match inner.table.lock(key) {
            Some(lock) if lock.grant_of(request).is_some() => Look::Granted(position),
            Some(lock) if lock.is_waiting(request) => Look::Waiting,
            _ => Look::Ended,
        }
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        let Some(handler) = inner.handlers.get_mut(&self.id) else {
            return;
        };
        handler.callers -= 1;
        if handler.callers > 0 {
            return;
        }
        let told = handler.told;
        inner.handlers.remove(&self.id);
        if !told {
            let (key, request) = &self.id;
            let end = Command::Release(Claim::Request(request.clone()));
            self.shared.apply(&mut inner, key, end);
        }
    }
}
