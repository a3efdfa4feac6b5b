//! Requests of this replica that wait to hear of a lock.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use tokio::sync::Notify;

use super::{
    super::keys::{LockPath, Segment},
    Ring, Seen, View,
    lock::SeenLock,
};
use crate::lease::{LeaseId, RequestId};

/// Who listens for what becomes of one lock.
pub(super) struct Listeners {
    path: LockPath,
    /// Waiters: woken when their own entry is gone.
    waiters: HashMap<RequestId, Arc<Bell>>,
    /// Others: woken when anything of the lock is gone.
    onlookers: HashMap<RequestId, Arc<Bell>>,
}

/// What wakes a listener.
#[derive(Default)]
struct Bell {
    gone: Notify,
    /// The ring that the waiter is told of.
    ring: OnceLock<Ring>,
}

/// Wakes a waiter when its entry is gone from the queue, or an onlooker when anything is.
pub(in super::super) struct Listener {
    view: Arc<View>,
    segment: Segment,
    request: RequestId,
    bell: Arc<Bell>,
}

impl Listener {
    /// Resolves when the entry may be gone. It may also still be there: look.
    pub(in super::super) async fn woken(&self) {
        self.bell.gone.notified().await;
    }

    /// Wakes itself again, for a look that failed.
    pub(in super::super) fn again(&self) {
        self.bell.gone.notify_one();
    }

    /// The ring that the waiter is part of, if it is the one to be told.
    pub(in super::super) fn ring(&self) -> Option<&Ring> {
        self.bell.ring.get()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut seen = self.view.seen();
        if let Some(listeners) = seen.listeners.get_mut(&self.segment) {
            for of in [&mut listeners.waiters, &mut listeners.onlookers] {
                if of
                    .get(&self.request)
                    .is_some_and(|known| Arc::ptr_eq(known, &self.bell))
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
        let bell = Arc::<Bell>::default();
        self.register(path, |of| {
            of.waiters.insert(request.clone(), Arc::clone(&bell));
        });
        self.listener(path, request, bell)
    }

    /// Listens for anything that may make room in these locks. All of them wake the same.
    pub(in super::super) fn look_on(
        self: &Arc<Self>,
        paths: &[LockPath],
        request: &RequestId,
    ) -> Vec<Listener> {
        let bell = Arc::<Bell>::default();
        let listeners = paths.iter().map(|path| {
            self.register(path, |of| {
                of.onlookers.insert(request.clone(), Arc::clone(&bell));
            });
            self.listener(path, request, Arc::clone(&bell))
        });
        listeners.collect()
    }

    /// Tells a waiter of this replica of a ring that it is part of.
    pub(in super::super) fn tell(&self, path: &LockPath, request: &RequestId, ring: Ring) {
        let seen = self.seen();
        let listeners = seen.listeners.get(&path.segment);
        if let Some(bell) = listeners.and_then(|listeners| listeners.waiters.get(request)) {
            // The first that it hears of will do.
            let _ = bell.ring.set(ring);
            bell.gone.notify_one();
        }
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
        bell: Arc<Bell>,
    ) -> Listener {
        Listener {
            view: Arc::clone(self),
            segment: path.segment.clone(),
            request: request.clone(),
            bell,
        }
    }
}

impl Seen {
    /// Wakes the one whose entry is gone.
    pub(super) fn wake(&self, segment: &Segment, request: &RequestId) {
        let listeners = self.listeners.get(segment);
        if let Some(bell) = listeners.and_then(|listeners| listeners.waiters.get(request)) {
            bell.gone.notify_one();
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
                .for_each(|bell| bell.gone.notify_one());
        }
    }

    /// Wakes those whose entry is not there. It may have been made since: they look.
    pub(super) fn wake_absent(&self, segment: &Segment) {
        let Some(listeners) = self.listeners.get(segment) else {
            return;
        };
        let lock = self.locks.get(segment);
        for (request, bell) in &listeners.waiters {
            if !lock.is_some_and(|lock| lock.waits(request)) {
                bell.gone.notify_one();
            }
        }
        self.wake_onlookers(segment);
    }
}
