//! The acquires that are being answered right now.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Inner, Origin, Shared, StoreError, closed};
use crate::{
    lease::{Claim, LockKey, RequestId},
    state::{Cause, Command, Table},
};

/// What the machine knows of a running acquire. The same request arriving again joins it.
pub(super) struct Handler {
    wake: watch::Sender<()>,
    callers: usize,
    /// Whether a caller was told that it holds the lock: then it is theirs to release.
    pub(super) told: bool,
    /// That the request is over, whether it was in a session, and why.
    pub(super) over: Option<(bool, Cause)>,
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
    /// It holds the lock.
    Granted,
    /// It stands in the queue.
    Waiting,
    /// It has waited long enough.
    WaitOver,
    /// Its session is gone.
    SessionGone,
    /// It was ended, or what it got is over before it was told.
    Ended,
}

impl Handler {
    pub(super) fn new(shared: &Arc<Shared>, id: (LockKey, RequestId)) -> (Self, Handling) {
        let mut handler = Self {
            wake: watch::Sender::new(()),
            callers: 0,
            told: false,
            over: None,
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

    /// How it stands, and how far the journal must be before it may be told.
    pub(super) fn look(&self) -> Result<(Look, u64), StoreError> {
        let inner = self.shared.lock();
        let look = self.look_in(&inner);
        if look == Look::Waiting && inner.closed {
            return Err(closed());
        }
        Ok((look, self.shared.position()))
    }

    pub(super) fn look_in(&self, inner: &Inner) -> Look {
        let (key, request) = &self.id;
        let over = inner
            .handlers
            .get(&self.id)
            .and_then(|handler| handler.over);
        match (over, inner.table.lock(key)) {
            (Some((true, Cause::Expired | Cause::SessionEnded)), _) => Look::SessionGone,
            (Some((_, Cause::WaitOver)), _) => Look::WaitOver,
            (Some(_), _) | (_, None) => Look::Ended,
            (_, Some(lock)) if lock.grant_of(request).is_some() => Look::Granted,
            (_, Some(_)) => Look::Waiting,
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
            let end = Command::Release {
                claim: Claim::Request(request.clone()),
                note: None,
            };
            let step = |table: &mut Table, now| table.step(key, end, now);
            self.shared.apply(&mut inner, Origin::default(), step);
        }
    }
}
