//! What this replica has seen of all locks: fed by the watch, always a little behind.
//!
//! It says what to propose and when to look again, never how a lock stands: that is decided by the
//! compares of a transaction, or by a linearizable read.

mod changes;
mod listen;
mod lock;
mod page;
mod rings;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use etcd_client::{Event, EventType, KeyValue};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::{changes::Changes, listen::Listeners, lock::SeenLock};
pub(super) use self::{listen::Listener, rings::Ring};
use super::{
    keys::{LockPath, Segment, Spot},
    records::{self, SessionRecord},
    room::Scene,
    sight::{Hold, Waiting},
};
use crate::lease::{LeaseId, LockEvent, RequestId};

pub(super) struct View {
    seen: Mutex<Seen>,
    /// Every event up to this revision has been delivered.
    progress: watch::Sender<i64>,
    /// Somebody stands in a queue who was not there before.
    longer: Notify,
}

#[derive(Default)]
struct Seen {
    /// The id of this replica.
    me: String,
    /// Replicas that are alive.
    replicas: BTreeSet<String>,
    /// Whether all locks were listed once.
    complete: bool,
    /// Mod revision of the last event delivered.
    revision: i64,
    /// When the watch last showed progress.
    heard: Option<Instant>,
    locks: HashMap<Segment, SeenLock>,
    /// Leases whose guard is there.
    guards: HashSet<LeaseId>,
    sessions: HashMap<LeaseId, SessionRecord>,
    /// Locks with a lock-delay.
    delayed: HashSet<Segment>,
    /// The locks that are waited for with a lease.
    awaited: HashMap<LeaseId, HashSet<Segment>>,
    listeners: HashMap<Segment, Listeners>,
    /// Locks that were read by themselves: events up to that revision are old news.
    reread: HashMap<Segment, i64>,
}

/// One state of etcd, or of one lock in it, to replace what was seen before.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) revision: i64,
    pub(super) keys: Vec<KeyValue>,
}

impl View {
    /// The view of a replica that has seen nothing yet.
    pub(super) fn of(replica: &str) -> Self {
        let seen = Seen {
            me: replica.to_owned(),
            ..Seen::default()
        };
        Self {
            seen: seen.into(),
            progress: watch::Sender::new(0),
            longer: Notify::new(),
        }
    }

    /// How the lock stands; `None` before all locks were listed.
    pub(super) fn scene(&self, path: &LockPath) -> Option<Scene> {
        let seen = self.seen();
        seen.complete.then(|| seen.scene(&path.segment))
    }

    /// Whether the request holds the lock or waits for it.
    pub(super) fn knows(&self, path: &LockPath, request: &RequestId) -> bool {
        let seen = self.seen();
        let lock = seen.locks.get(&path.segment);
        lock.is_some_and(|lock| lock.knows(request))
    }

    /// The tenures of a lock that are meant.
    pub(super) fn holds(&self, path: &LockPath, is_it: impl Fn(&Hold) -> bool) -> Vec<Hold> {
        let seen = self.seen();
        let lock = seen.locks.get(&path.segment);
        let holds = lock.into_iter().flat_map(SeenLock::holds);
        holds.filter(is_it).collect()
    }

    /// A session, if its beginning was seen.
    pub(super) fn session(&self, lease: LeaseId) -> Option<SessionRecord> {
        self.seen().sessions.get(&lease).cloned()
    }

    /// The leases that lock-delays of tenures on this lease hang on.
    pub(super) fn delays_of(&self, lease: LeaseId) -> Vec<LeaseId> {
        let seen = self.seen();
        let delayed = seen.delayed.iter();
        let delays = delayed.filter_map(|segment| seen.locks.get(segment)?.delay());
        delays
            .filter_map(|(own, of)| (of == lease).then_some(own))
            .collect()
    }

    /// Locks that have room for the head of their queue, or whose head can never be served; with
    /// that head.
    pub(super) fn orphans(&self) -> Vec<Waiting> {
        let seen = self.seen();
        let segments = seen.locks.keys();
        segments
            .filter_map(|segment| seen.orphan(segment))
            .collect()
    }

    /// All that wait, as far as they are meant.
    pub(super) fn waiting(&self, is_it: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let seen = self.seen();
        let waiting = seen.locks.values().flat_map(SeenLock::waiting);
        waiting.filter(|waiting| is_it(waiting)).cloned().collect()
    }

    /// How long the watch has shown no progress; `None` before it ever did.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.seen().heard.map(|heard| heard.elapsed())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.seen().complete
    }

    /// Replaces everything by what was listed.
    pub(super) fn replace(&self, listing: &Listing) -> Vec<LockEvent> {
        let mut seen = self.seen();
        let mut changes = Changes::default();
        // What was there before the first listing is no news.
        if seen.complete {
            let segments: Vec<_> = seen.locks.keys().cloned().collect();
            for segment in &segments {
                changes.expect_tenures(&seen, segment);
            }
            for kv in &listing.keys {
                changes.expect_key(&seen, kv);
            }
        }
        let listeners = std::mem::take(&mut seen.listeners);
        *seen = Seen {
            me: std::mem::take(&mut seen.me),
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
        self.longer.notify_one();
        self.progress.send_replace(listing.revision);
        changes.told(&seen, listing.revision)
    }

    /// Replaces one lock by what a read of it showed, unless the watch has overtaken the read.
    pub(super) fn replace_one(&self, path: &LockPath, listing: &Listing) -> Vec<LockEvent> {
        let mut seen = self.seen();
        if listing.revision < seen.revision {
            return Vec::new();
        }
        let mut changes = Changes::default();
        changes.expect_tenures(&seen, &path.segment);
        for kv in &listing.keys {
            changes.expect_key(&seen, kv);
        }
        seen.reread.remove(&path.segment);
        seen.locks.remove(&path.segment);
        for kv in &listing.keys {
            seen.put(kv);
        }
        seen.reread.insert(path.segment.clone(), listing.revision);
        seen.wake_absent(&path.segment);
        changes.told(&seen, listing.revision)
    }

    /// Applies events in their order. Returns the heads of the queues that they left something to be
    /// done for, and what happened, if anybody wants to know.
    pub(super) fn apply(&self, events: &[Event], wanted: bool) -> (Vec<Waiting>, Vec<LockEvent>) {
        let mut seen = self.seen();
        seen.heard = Some(Instant::now());
        let (mut touched, mut told) = (HashSet::new(), Vec::new());
        for step in events.chunk_by(|one, next| revision_of(one) == revision_of(next)) {
            let mut changes = Changes::default();
            if wanted {
                step.iter().for_each(|event| changes.expect(&seen, event));
            }
            for event in step {
                let Some(kv) = event.kv() else { continue };
                seen.revision = kv.mod_revision();
                match event.event_type() {
                    EventType::Put => touched.extend(seen.put(kv)),
                    EventType::Delete => touched.extend(seen.delete(kv)),
                }
            }
            told.extend(changes.told(&seen, seen.revision));
        }
        let touched = touched.iter();
        let heads = touched.filter_map(|segment| seen.orphan(segment));
        if events.iter().any(is_new_waiter) {
            self.longer.notify_one();
        }
        (heads.collect(), told)
    }

    /// Resolves when a queue has become longer since the last time.
    pub(super) async fn longer(&self) {
        self.longer.notified().await;
    }

    /// Has the queues looked at again.
    pub(super) fn again(&self) {
        self.longer.notify_one();
    }

    /// Notes that all events up to this revision were delivered.
    pub(super) fn progress(&self, revision: i64) {
        self.seen().heard = Some(Instant::now());
        self.progress
            .send_if_modified(|progress| std::mem::replace(progress, revision) < revision);
    }

    /// Resolves when all events up to this revision were delivered.
    pub(super) async fn reaches(&self, revision: i64) {
        let mut progress = self.progress.subscribe();
        // The sender is ours.
        let _ = progress.wait_for(|progress| *progress >= revision).await;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn scene(&self, segment: &Segment) -> Scene {
        let lock = self.locks.get(segment);
        lock.map(|lock| lock.scene(&self.guards))
            .unwrap_or_default()
    }

    /// The head of a queue, if it can be granted, or never can be.
    fn orphan(&self, segment: &Segment) -> Option<Waiting> {
        let lock = self.locks.get(segment)?;
        lock.waiting().next()?;
        let scene = lock.scene(&self.guards);
        let waits_in_vain = scene.dead_heads().next().is_some();
        let needs_us = waits_in_vain || scene.next_run(None).is_some();
        scene.queue.into_iter().next().filter(|_| needs_us)
    }

    /// Takes in a key; the lock if this may have changed who is next.
    fn put(&mut self, kv: &KeyValue) -> Option<Segment> {
        let spot = Spot::of(kv.key());
        match spot {
            Spot::Guard(lease) => {
                self.put_guard(lease, kv);
                return None;
            }
            Spot::Replica(id) => {
                self.replicas.insert(id);
                return None;
            }
            _ => {}
        }
        let segment = self.news_of(&spot, kv)?;
        let lock = self.locks.entry(segment.clone()).or_default();
        match spot {
            Spot::Holder(_) => lock.put_holder(kv),
            Spot::Meta(_) => lock.put_meta(kv),
            Spot::Delay(_) => {
                lock.put_delay(kv);
                self.delayed.insert(segment);
            }
            Spot::Reader(_, request) => lock.put_reader(request, kv),
            Spot::Permit(_, request) => lock.put_permit(request, kv),
            Spot::Waiter(_, request) => {
                for lease in lock.put_waiter(request, kv) {
                    let awaited = self.awaited.entry(lease).or_default();
                    awaited.insert(segment.clone());
                }
                return Some(segment);
            }
            Spot::Guard(_) | Spot::Ending(_) | Spot::Replica(_) | Spot::Other => {}
        }
        None
    }

    /// Takes out a key; the locks of which this may have changed who is next.
    fn delete(&mut self, kv: &KeyValue) -> Vec<Segment> {
        let spot = Spot::of(kv.key());
        if let Spot::Guard(lease) = spot {
            self.guards.remove(&lease);
            self.sessions.remove(&lease);
            self.wake_all_on(lease);
            let awaited = self.awaited.get(&lease);
            return awaited.into_iter().flatten().cloned().collect();
        }
        if let Spot::Replica(id) = &spot {
            self.replicas.remove(id);
        }
        let Some(segment) = self.news_of(&spot, kv) else {
            return Vec::new();
        };
        let Some(lock) = self.locks.get_mut(&segment) else {
            return Vec::new();
        };
        match spot {
            Spot::Holder(_) => lock.delete_holder(),
            Spot::Meta(_) => lock.delete_meta(),
            Spot::Delay(_) => {
                lock.delete_delay();
                self.delayed.remove(&segment);
            }
            Spot::Reader(_, request) => lock.delete_reader(&request),
            Spot::Permit(_, request) => lock.delete_permit(&request),
            Spot::Waiter(_, request) => {
                let leases = lock.delete_waiter(request.clone());
                self.forget_awaited(&segment, leases);
                self.wake(&segment, &request);
            }
            Spot::Guard(_) | Spot::Ending(_) | Spot::Replica(_) | Spot::Other => {}
        }
        self.wake_onlookers(&segment);
        if self.locks.get(&segment).is_some_and(SeenLock::is_blank) {
            self.locks.remove(&segment);
        }
        vec![segment]
    }

    fn put_guard(&mut self, lease: LeaseId, kv: &KeyValue) {
        self.guards.insert(lease);
        if !kv.value().is_empty()
            && let Ok(session) = records::decode(kv.value())
        {
            self.sessions.insert(lease, session);
        }
    }

    /// Forgets that a lock is waited for with these leases, unless another entry names them too.
    fn forget_awaited(&mut self, segment: &Segment, leases: Vec<LeaseId>) {
        for lease in leases {
            let lock = self.locks.get(segment);
            if lock.is_some_and(|lock| lock.waiting().any(|w| w.names(lease))) {
                continue;
            }
            if let Some(awaited) = self.awaited.get_mut(&lease) {
                awaited.remove(segment);
                if awaited.is_empty() {
                    self.awaited.remove(&lease);
                }
            }
        }
    }

    /// The lock that a key is of, unless the last read of that lock is newer.
    fn news_of(&mut self, spot: &Spot, kv: &KeyValue) -> Option<Segment> {
        let segment = spot.segment()?;
        match self.reread.get(segment) {
            Some(read) if kv.mod_revision() <= *read => return None,
            Some(_) => {
                self.reread.remove(segment);
            }
            None => {}
        }
        Some(segment.clone())
    }
}

fn revision_of(event: &Event) -> Option<i64> {
    event.kv().map(KeyValue::mod_revision)
}

fn is_new_waiter(event: &Event) -> bool {
    let is_put = event.event_type() == EventType::Put;
    let spot = event.kv().map(|kv| Spot::of(kv.key()));
    is_put && matches!(spot, Some(Spot::Waiter(..)))
}
