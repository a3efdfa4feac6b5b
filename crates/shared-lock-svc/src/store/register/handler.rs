//! The acquires that are being answered right now.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};

use super::{Core, Fault, slot::Slot};
use crate::{
    lease::{Acquisition, LeaseId, Note, RequestId},
    state::{Command, Grant, Lock},
};

/// What is known of a running acquire. The same request arriving again joins it.
pub(super) struct Handler {
    stand: watch::Sender<Stand>,
    lease: LeaseId,
    callers: usize,
    /// Whether a caller was told that it holds the lock: then it is theirs to release.
    pub(super) told: bool,
    /// When its place in the queue was written last.
    pub(super) beaten: Instant,
}

/// How a running acquire stands.
#[derive(Debug, Clone)]
pub(super) enum Stand {
    /// It has been asked for.
    Asked,
    /// It is in the queue.
    Waiting,
    /// It holds the lock, with what a holder before it left; a swap of ours that was sent then gave it.
    Granted(Grant, Option<Note>, Option<Instant>),
    /// It did not get the lock.
    Refused(Acquisition),
    /// Nobody knows.
    Failed(Fault),
    /// It has ended.
    Over,
}

/// One caller's part in a running acquire. When the last one is dropped and nobody was told of a lock,
/// the request ends: it leaves the queue, and what it was granted is released.
pub(super) struct Handling {
    pub(super) core: Arc<Core>,
    pub(super) slot: Arc<Slot>,
    pub(super) request: RequestId,
    stand: watch::Receiver<Stand>,
}

impl Handler {
    pub(super) fn new(lease: LeaseId) -> Self {
        Self {
            stand: watch::Sender::new(Stand::Asked),
            lease,
            callers: 0,
            told: false,
            beaten: Instant::now(),
        }
    }

    pub(super) fn join(
        &mut self,
        core: &Arc<Core>,
        slot: &Arc<Slot>,
        request: RequestId,
    ) -> Handling {
        self.callers += 1;
        Handling {
            core: Arc::clone(core),
            slot: Arc::clone(slot),
            request,
            stand: self.stand.subscribe(),
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        self.callers == 1
    }

    pub(super) fn stand(&self) -> Stand {
        self.stand.borrow().clone()
    }

    /// Looks at the lock as it is now.
    pub(super) fn see(&self, lock: &Lock, request: &RequestId, sent: Option<Instant>) {
        let ours = |grant: &&Grant| grant.wish.lease_id == self.lease;
        self.stand.send_if_modified(|stand| {
            let grant = lock.grant_of(request).filter(ours);
            let next = match (&*stand, grant) {
                (Stand::Asked | Stand::Waiting, Some(grant)) => {
                    Stand::Granted(grant.clone(), lock.note.clone(), sent)
                }
                (Stand::Asked, None) if lock.place_of(request).is_some() => Stand::Waiting,
                (Stand::Waiting, None) if lock.place_of(request).is_none() => Stand::Over,
                (Stand::Granted(..), None) => Stand::Over,
                _ => return false,
            };
            *stand = next;
            true
        });
    }

    /// Ends the wait of every caller with an answer, unless there is one already.
    pub(super) fn end(&self, end: Stand) {
        self.stand.send_if_modified(|stand| {
            let is_open = matches!(stand, Stand::Asked | Stand::Waiting);
            if is_open {
                *stand = end;
            }
            is_open
        });
    }
}

impl Handling {
    /// How it stands. The next [`Handling::changed`] resolves if it does not any more.
    pub(super) fn stand(&mut self) -> Stand {
        self.stand.borrow_and_update().clone()
    }

    pub(super) async fn changed(&mut self) {
        // The sender lives in the slot until the last caller is gone.
        let _ = self.stand.changed().await;
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let mut inner = self.slot.inner();
        let Some(handler) = inner.handlers.get_mut(&self.request) else {
            return;
        };
        handler.callers -= 1;
        if handler.callers > 0 {
            return;
        }
        let leaves_nothing =
            handler.told || matches!(handler.stand(), Stand::Refused(_) | Stand::Over);
        let lease = handler.lease;
        inner.handlers.remove(&self.request);
        drop(inner);
        if !leaves_nothing {
            let (core, slot) = (Arc::clone(&self.core), Arc::clone(&self.slot));
            let request = self.request.clone();
            self.core.spawn(withdraw(core, slot, request, lease));
        }
    }
}

/// Ends a request whose callers here are gone, and nothing that another replica may have told them of. What
/// cannot be ended in a while ends by itself: nobody keeps it alive.
async fn withdraw(core: Arc<Core>, slot: Arc<Slot>, request: RequestId, lease: LeaseId) {
    const TRIES: u32 = 8;
    for attempt in 1..=TRIES {
        let withdraw = Command::Withdraw {
            request: request.clone(),
            lease,
        };
        match slot.ask(&core, withdraw).await {
            Ok(_) | Err(Fault::Refused(_)) => return,
            Err(_) => tokio::time::sleep(core.options.poll * attempt).await,
        }
    }
}
