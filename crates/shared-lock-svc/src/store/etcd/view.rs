//! What this replica has seen of all locks: fed by the watch, always a little behind.
//!
//! It says what to propose and when to look again, never how a lock stands: that is decided by the
//! compares of a transaction, or by a linearizable read.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use etcd_client::{Event, EventType, KeyValue};
use tokio::{sync::Notify, time::Instant};

use super::{
    keys::{LockPath, Segment, Spot},
    records::{self, Meta},
    sight::{HolderKey, Waiting},
};
use crate::lease::RequestId;

pub(super) struct View {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Whether all locks were listed once.
    complete: bool,
    /// Mod revision of the last event delivered.
    revision: i64,
    /// When the watch last showed progress.
    heard: Option<Instant>,
    holders: HashMap<Segment, HolderKey>,
    /// The requests that hold, with the revision of their M.
    tenants: HashMap<Segment, (i64, RequestId)>,
    queues: HashMap<Segment, HashMap<RequestId, Waiting>>,
    listeners: HashMap<Segment, Listeners>,
    /// Locks that were read by themselves: events up to that revision are old news.
    reread: HashMap<Segment, i64>,
}

struct Listeners {
    path: LockPath,
    of: HashMap<RequestId, Arc<Notify>>,
}

/// A lock as the view shows it.
#[derive(Debug, Default)]
pub(super) struct Glimpse {
    pub(super) holder: Option<HolderKey>,
    /// The request that holds it.
    pub(super) tenant: Option<RequestId>,
    pub(super) head: Option<Waiting>,
}

/// One state of etcd, or of one lock in it, to replace what was seen before.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) revision: i64,
    pub(super) keys: Vec<KeyValue>,
}

/// Wakes a waiter when its entry is gone from the queue.
pub(super) struct Listener<'a> {
    view: &'a View,
    segment: Segment,
    request: RequestId,
    gone: Arc<Notify>,
}

impl Listener<'_> {
    /// Resolves when the entry may be gone. It may also still be there: look.
    pub(super) async fn woken(&self) {
        self.gone.notified().await;
    }

    /// Wakes itself again, for a look that failed.
    pub(super) fn again(&self) {
        self.gone.notify_one();
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let mut seen = self.view.seen();
        if let Some(listeners) = seen.listeners.get_mut(&self.segment) {
            listeners.of.remove(&self.request);
            if listeners.of.is_empty() {
                seen.listeners.remove(&self.segment);
            }
        }
    }
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            seen: Mutex::default(),
        }
    }

    /// Whether a proposal to take the lock is worth its entry in etcd's log.
    pub(super) fn looks_free(&self, path: &LockPath) -> bool {
        let seen = self.seen();
        seen.complete
            && !seen.holders.contains_key(&path.segment)
            && !seen.queues.contains_key(&path.segment)
    }

    pub(super) fn glimpse(&self, path: &LockPath) -> Glimpse {
        let seen = self.seen();
        let holder = seen.holders.get(&path.segment).copied();
        let tenant = seen
            .tenants
            .get(&path.segment)
            .filter(|(revision, _)| Some(*revision) == holder.map(|h| h.token));
        Glimpse {
            holder,
            tenant: tenant.map(|(_, request)| request.clone()),
            head: seen.head(&path.segment).cloned(),
        }
    }

    /// Listens for the end of an entry, from before it is made.
    pub(super) fn listen(&self, path: &LockPath, request: &RequestId) -> Listener<'_> {
        let gone = Arc::new(Notify::new());
        let mut seen = self.seen();
        let listeners = seen.listeners.entry(path.segment.clone());
        let listeners = listeners.or_insert_with(|| Listeners {
            path: path.clone(),
            of: HashMap::new(),
        });
        listeners.of.insert(request.clone(), Arc::clone(&gone));
        Listener {
            view: self,
            segment: path.segment.clone(),
            request: request.clone(),
            gone,
        }
    }

    /// Locks that requests of this replica wait for.
    pub(super) fn listened(&self) -> Vec<LockPath> {
        self.seen()
            .listeners
            .values()
            .map(|listeners| listeners.path.clone())
            .collect()
    }

    /// Free locks that somebody waits for, with the head of their queue.
    pub(super) fn orphans(&self) -> Vec<Waiting> {
        let seen = self.seen();
        seen.queues
            .keys()
            .filter_map(|segment| seen.orphan(segment).cloned())
            .collect()
    }

    /// All that wait at a replica.
    pub(super) fn waiting_at(&self, replica: &str) -> Vec<Waiting> {
        let seen = self.seen();
        seen.queues
            .values()
            .flat_map(HashMap::values)
            .filter(|w| w.waiter.replica == replica)
            .cloned()
            .collect()
    }

    /// How long the watch has shown no progress; `None` before it ever did.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.seen().heard.map(|heard| heard.elapsed())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.seen().complete
    }

    /// Replaces everything by what was listed.
    pub(super) fn replace(&self, listing: &Listing) {
        let mut seen = self.seen();
        let listeners = std::mem::take(&mut seen.listeners);
        *seen = Seen {
            complete: true,
            revision: listing.revision,
            heard: Some(Instant::now()),
            listeners,
            ..Seen::default()
        };
        for kv in &listing.keys {
            seen.put(kv);
        }
        for segment in seen.listeners.keys() {
            seen.wake_absent(segment);
        }
    }

    /// Replaces one lock by what a read of it showed, unless the watch has overtaken the read.
    pub(super) fn replace_one(&self, path: &LockPath, listing: &Listing) {
        let mut seen = self.seen();
        if listing.revision < seen.revision {
            return;
        }
        seen.reread.remove(&path.segment);
        seen.holders.remove(&path.segment);
        seen.tenants.remove(&path.segment);
        seen.queues.remove(&path.segment);
        for kv in &listing.keys {
            seen.put(kv);
        }
        seen.reread.insert(path.segment.clone(), listing.revision);
        seen.wake_absent(&path.segment);
    }

    /// Applies events in their order. Returns the heads of the queues of locks that they left free.
    pub(super) fn apply(&self, events: &[Event]) -> Vec<Waiting> {
        let mut seen = self.seen();
        seen.heard = Some(Instant::now());
        let mut touched = HashSet::new();
        for event in events {
            let Some(kv) = event.kv() else { continue };
            seen.revision = kv.mod_revision();
            touched.extend(match event.event_type() {
                EventType::Put => seen.put(kv),
                EventType::Delete => seen.delete(kv),
            });
        }
        touched
            .iter()
            .filter_map(|segment| seen.orphan(segment).cloned())
            .collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn head(&self, segment: &Segment) -> Option<&Waiting> {
        self.queues
            .get(segment)?
            .values()
            .min_by_key(|waiting| waiting.place)
    }

    /// The head of the queue of a lock that nobody holds.
    fn orphan(&self, segment: &Segment) -> Option<&Waiting> {
        if self.holders.contains_key(segment) {
            None
        } else {
            self.head(segment)
        }
    }

    /// Takes in a key; the lock if this may have changed who is next.
    fn put(&mut self, kv: &KeyValue) -> Option<Segment> {
        match Spot::of(kv.key()) {
            Spot::Holder(segment) if self.is_news(&segment, kv) => {
                self.holders.insert(segment, HolderKey::read(kv));
                None
            }
            Spot::Meta(segment) if self.is_news(&segment, kv) => {
                let meta = records::decode::<Meta>(kv.value()).ok()?;
                self.tenants
                    .insert(segment, (kv.mod_revision(), meta.request));
                None
            }
            Spot::Waiter(segment, request) if self.is_news(&segment, kv) => {
                // An entry of a later version is left to replicas of that version.
                let waiting = Waiting::read(kv).ok()?;
                self.queues
                    .entry(segment.clone())
                    .or_default()
                    .insert(request, waiting);
                Some(segment)
            }
            _ => None,
        }
    }

    /// Takes out a key; the lock if this may have changed who is next.
    fn delete(&mut self, kv: &KeyValue) -> Option<Segment> {
        match Spot::of(kv.key()) {
            Spot::Holder(segment) if self.is_news(&segment, kv) => {
                self.holders.remove(&segment);
                Some(segment)
            }
            Spot::Meta(segment) if self.is_news(&segment, kv) => {
                self.tenants.remove(&segment);
                None
            }
            Spot::Waiter(segment, request) if self.is_news(&segment, kv) => {
                let queue = self.queues.get_mut(&segment)?;
                queue.remove(&request);
                if queue.is_empty() {
                    self.queues.remove(&segment);
                }
                if let Some(gone) = self
                    .listeners
                    .get(&segment)
                    .and_then(|listeners| listeners.of.get(&request))
                {
                    gone.notify_one();
                }
                Some(segment)
            }
            _ => None,
        }
    }

    /// Whether an event is newer than the last read of its lock.
    fn is_news(&mut self, segment: &Segment, kv: &KeyValue) -> bool {
        match self.reread.get(segment) {
            Some(read) if kv.mod_revision() <= *read => false,
            Some(_) => {
                self.reread.remove(segment);
                true
            }
            None => true,
        }
    }

    /// Wakes those whose entry is not there. It may have been made since: they look.
    fn wake_absent(&self, segment: &Segment) {
        let Some(listeners) = self.listeners.get(segment) else {
            return;
        };
        let queue = self.queues.get(segment);
        for (request, gone) in &listeners.of {
            if !queue.is_some_and(|queue| queue.contains_key(request)) {
                gone.notify_one();
            }
        }
    }
}
