//! The requests that live at this replica, by lock and request id.
//!
//! A request runs as a task of the store. Callers wait for its outcome; when the last of them is
//! gone before it was told, the request is abandoned and the task undoes what it did.

use std::{
    collections::{HashMap, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use crate::lease::{AcquireRequest, Acquisition, LockKey, RequestId};

/// How a request ended, for each caller that waits.
pub(super) type Outcome = Result<Acquisition, Fault>;

#[derive(Default)]
pub(super) struct Requests {
    entries: Mutex<HashMap<(LockKey, RequestId), Arc<Entry>>>,
    left: Notify,
}

/// One request, shared by its task and its callers.
pub(super) struct Entry {
    pub(super) request: AcquireRequest,
    /// No caller is left to tell.
    pub(super) abandoned: CancellationToken,
    told: CancellationToken,
    callers: Mutex<usize>,
    outcome: watch::Sender<Option<Outcome>>,
}

/// One who waits for the outcome; dropping it may abandon the request.
pub(super) struct Caller(Arc<Entry>);

impl Requests {
    /// Joins the request of that id, or registers it; then its task is to be started.
    pub(super) fn enter(&self, request: AcquireRequest) -> (Caller, Option<Arc<Entry>>) {
        match self
            .entries()
            .entry((request.key.clone(), request.request_id.clone()))
        {
            hash_map::Entry::Occupied(known) => {
                *known.get().callers() += 1;
                (Caller(Arc::clone(known.get())), None)
            }
            hash_map::Entry::Vacant(free) => {
                let entry = Arc::new(Entry::new(request));
                free.insert(Arc::clone(&entry));
                (Caller(Arc::clone(&entry)), Some(entry))
            }
        }
    }

    /// Whether a task here serves the request.
    pub(super) fn is_known(&self, key: &LockKey, request: &RequestId) -> bool {
        self.entries().contains_key(&(key.clone(), request.clone()))
    }

    /// Strikes out a request whose task has ended.
    pub(super) fn leave(&self, entry: &Entry) {
        self.entries()
            .remove(&(entry.request.key.clone(), entry.request.request_id.clone()));
        self.left.notify_waiters();
    }

    /// Resolves when no request lives here.
    pub(super) async fn empty(&self) {
        loop {
            let left = self.left.notified();
            if self.entries().is_empty() {
                return;
            }
            left.await;
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<(LockKey, RequestId), Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(request: AcquireRequest) -> Self {
        Self {
            request,
            abandoned: CancellationToken::new(),
            told: CancellationToken::new(),
            callers: Mutex::new(1),
            outcome: watch::Sender::new(None),
        }
    }

    /// Tells the outcome. Returns whether a caller took it, once that is certain.
    pub(super) async fn tell(&self, outcome: Outcome) -> bool {
        self.outcome.send_replace(Some(outcome));
        tokio::select! {
            biased;
            () = self.told.cancelled() => true,
            () = self.abandoned.cancelled() => false,
        }
    }

    fn callers(&self) -> MutexGuard<'_, usize> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    /// The outcome of the request.
    pub(super) async fn outcome(self) -> Outcome {
        let mut watched = self.0.outcome.subscribe();
        let outcome = watched
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|outcome| outcome.clone());
        // The sender lives in the entry that we hold, so there always is an outcome.
        let outcome = outcome.unwrap_or_else(|| Err(Fault::unreachable("the request was dropped")));
        self.0.told.cancel();
        outcome
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut callers = self.0.callers();
        *callers -= 1;
        if *callers == 0 && !self.0.told.is_cancelled() {
            self.0.abandoned.cancel();
        }
    }
}
