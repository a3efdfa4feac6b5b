//! The requests that live at this replica, by what names them.
//!
//! A request runs as a task of the store. Callers wait for its outcome; when the last of them is
//! gone before it was told, the request is abandoned and the task undoes what it did.

use std::{
    collections::{HashMap, hash_map},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fault::Fault;

/// How a request ended, for each caller that waits.
pub(super) type Outcome<A> = Result<A, Fault>;

/// Requests that are answered with an `A`, by what names them.
pub(super) struct Requests<K, A> {
    entries: Mutex<HashMap<K, Arc<Entry<A>>>>,
    left: Notify,
}

/// One request, shared by its task and its callers.
pub(super) struct Entry<A> {
    /// No caller is left to tell.
    pub(super) abandoned: CancellationToken,
    told: CancellationToken,
    callers: Mutex<usize>,
    outcome: watch::Sender<Option<Outcome<A>>>,
}

/// One who waits for the outcome; dropping it may abandon the request.
pub(super) struct Caller<A>(Arc<Entry<A>>);

impl<K, A> Default for Requests<K, A> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            left: Notify::new(),
        }
    }
}

impl<K: Eq + Hash, A> Requests<K, A> {
    /// Joins the request of that name, or registers it; then its task is to be started.
    pub(super) fn enter(&self, name: K) -> (Caller<A>, Option<Arc<Entry<A>>>) {
        match self.entries().entry(name) {
            hash_map::Entry::Occupied(known) => {
                *known.get().callers() += 1;
                (Caller(Arc::clone(known.get())), None)
            }
            hash_map::Entry::Vacant(free) => {
                let entry = Arc::new(Entry::new());
                free.insert(Arc::clone(&entry));
                (Caller(Arc::clone(&entry)), Some(entry))
            }
        }
    }

    /// Whether a task here serves the request.
    pub(super) fn is_known(&self, name: &K) -> bool {
        self.entries().contains_key(name)
    }

    /// Strikes out a request whose task has ended.
    pub(super) fn leave(&self, name: &K) {
        self.entries().remove(name);
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

    fn entries(&self) -> MutexGuard<'_, HashMap<K, Arc<Entry<A>>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Entry<A> {
    fn new() -> Self {
        Self {
            abandoned: CancellationToken::new(),
            told: CancellationToken::new(),
            callers: Mutex::new(1),
            outcome: watch::Sender::new(None),
        }
    }

    /// Tells the outcome. Returns whether a caller took it, once that is certain.
    pub(super) async fn tell(&self, outcome: Outcome<A>) -> bool {
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

impl<A: Clone> Caller<A> {
    /// The outcome of the request.
    pub(super) async fn outcome(self) -> Outcome<A> {
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

impl<A> Drop for Caller<A> {
    fn drop(&mut self) {
        let mut callers = self.0.callers();
        *callers -= 1;
        if *callers == 0 && !self.0.told.is_cancelled() {
            self.0.abandoned.cancel();
        }
    }
}
