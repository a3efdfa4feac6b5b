//! Requests of this replica that wait to hear of a lock.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Notify;

use super::{
    super::keys::{LockPath, Segment},
    Seen, View,
    lock::SeenLock,
};
use crate::lease::{LeaseId, RequestId};

/// Who listens for what becomes of one lock.
pub(super) struct Listeners {
    path: LockPath,
    /// Waiters: woken when their own entry is gone.
    waiters: HashMap<RequestId, Arc<Notify>>,
    /// Others: woken when anything of the lock is gone.
    onlookers: HashMap<RequestId, Arc<Notify>>,
}

/// Wakes a waiter when its entry is gone from the queue, or an onlooker when anything is.
pub(in super::super) struct Listener {
    view: Arc<View>,
    segment: Segment,
    request: RequestId,
    gone: Arc<Notify>,
}

impl Listener {
    /// Resolves when the entry may be gone. It may also still be there: look.
    pub(in super::super) async fn woken(&self) {
        self.gone.notified().await;
    }

    /// Wakes itself again, for a look that failed.
    pub(in super::super) fn again(&self) {
        self.gone.notify_one();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut seen = self.view.seen();
        if let Some(listeners) = seen.listeners.get_mut(&self.segment) {
            for of in [&mut listeners.waiters, &mut listeners.onlookers] {
                if of
                    .get(&self.request)
                    .is_some_and(|known| Arc::ptr_eq(known, &self.gone))
                {
                    of.remove(&self.request);
                }
            }
            if listeners.waiters.is_empty() && listeners.onlookers.is_empty() {
                seen.listeners.remove(&self.segment);
            }
        }
    }
}

impl View {
    /// Listens for the end of an entry, from before it is made.
    pub(in super::super) fn listen(
        self: &Arc<Self>,
        path: &LockPath,
        request: &RequestId,
    ) -> Listener {
        let gone = Arc::new(Notify::new());
        self.register(path, |of| {
            of.waiters.insert(request.clone(), Arc::clone(&gone));
        });
        self.listener(path, request, gone)
    }

    /// Listens for anything that may make room in these locks. All of them wake the same.
    pub(in super::super) fn look_on(
        self: &Arc<Self>,
        paths: &[LockPath],
        request: &RequestId,
    ) -> Vec<Listener> {
        let gone = Arc::new(Notify::new());
        let listeners = paths.iter().map(|path| {
            self.register(path, |of| {
                of.onlookers.insert(request.clone(), Arc::clone(&gone));
            });
            self.listener(path, request, Arc::clone(&gone))
        });
        listeners.collect()
    }

    /// Locks that requests of this replica wait for.
    pub(in super::super) fn listened(&self) -> Vec<LockPath> {
        self.seen()
            .listeners
            .values()
            .map(|listeners| listeners.path.clone())
            .collect()
    }

    fn register(&self, path: &LockPath, add: impl FnOnce(&mut Listeners)) {
        let mut seen = self.seen();
        let listeners = seen.listeners.entry(path.segment.clone());
        add(listeners.or_insert_with(|| Listeners {
            path: path.clone(),
            waiters: HashMap::new(),
            onlookers: HashMap::new(),
        }));
    }

    fn listener(
        self: &Arc<Self>,
        path: &LockPath,
        request: &RequestId,
        gone: Arc<Notify>,
    ) -> Listener {
        Listener {
            view: Arc::clone(self),
            segment: path.segment.clone(),
            request: request.clone(),
            gone,
        }
    }
}

impl Seen {
    /// Wakes the one whose entry is gone.
    pub(super) fn wake(&self, segment: &Segment, request: &RequestId) {
        let listeners = self.listeners.get(segment);
        if let Some(gone) = listeners.and_then(|listeners| listeners.waiters.get(request)) {
            gone.notify_one();
        }
    }

    /// Wakes all that wait with a lease that is gone.
    pub(super) fn wake_all_on(&self, lease: LeaseId) {
        for segment in self.awaited.get(&lease).into_iter().flatten() {
            let waiting = self
                .locks
                .get(segment)
                .into_iter()
                .flat_map(SeenLock::waiting);
            for dead in waiting.filter(|waiting| waiting.names(lease)) {
                self.wake(segment, &dead.request);
            }
        }
    }

    /// Wakes all that look on: there may be room.
    pub(super) fn wake_onlookers(&self, segment: &Segment) {
        if let Some(listeners) = self.listeners.get(segment) {
            listeners
                .onlookers
                .values()
                .for_each(|gone| gone.notify_one());
        }
    }

    /// Wakes those whose entry is not there. It may have been made since: they look.
    pub(super) fn wake_absent(&self, segment: &Segment) {
        let Some(listeners) = self.listeners.get(segment) else {
            return;
        };
        let lock = self.locks.get(segment);
        for (request, gone) in &listeners.waiters {
            if !lock.is_some_and(|lock| lock.waits(request)) {
                gone.notify_one();
            }
        }
        self.wake_onlookers(segment);
    }
}
