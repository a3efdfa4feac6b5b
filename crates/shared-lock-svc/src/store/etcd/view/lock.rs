//! One lock, as the events seen so far leave it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use etcd_client::KeyValue;

use super::super::{
    keys,
    records::{self, Delay, Meta},
    room::Scene,
    sight::{Hold, Tenures, Waiting, leases_of},
};
use crate::lease::{LeaseId, LockKey, Mode, RequestId};

/// Readers that a scene shows: one that leaves, and one beside it.
const READERS: usize = 2;

#[derive(Default)]
pub(super) struct SeenLock {
    /// Its name, which a segment may only be the hash of.
    name: Option<LockKey>,
    /// H without M: its token and lease.
    holder: Option<(i64, LeaseId)>,
    /// M and its revision.
    meta: Option<(i64, Arc<Meta>)>,
    /// D: its own lease, and that of the tenure it is of.
    delay: Option<(LeaseId, Delay)>,
    readers: HashMap<RequestId, Hold>,
    permits: HashMap<RequestId, Hold>,
    /// Q, in the order of their places.
    queue: BTreeMap<(i64, RequestId), Waiting>,
    places: HashMap<RequestId, i64>,
}

impl SeenLock {
    /// All tenures in the order of their grants.
    pub(super) fn holds_in_order(&self) -> Vec<Hold> {
        let mut holds: Vec<_> = self.holds().collect();
        holds.sort_by_key(Hold::turn);
        holds
    }

    /// The sessions that hold it alone or as readers.
    pub(super) fn sessions_that_hold(&self) -> impl Iterator<Item = (Mode, LeaseId)> {
        let holds = self.holds().filter(|hold| {
            let of_session = hold.meta.as_ref().is_some_and(|meta| meta.leases.session);
            of_session && !matches!(hold.mode, Mode::Permit { .. })
        });
        holds.map(|hold| (hold.mode, hold.lease))
    }

    /// Whether nothing is known of it.
    pub(super) fn is_blank(&self) -> bool {
        self.holder.is_none()
            && self.meta.is_none()
            && self.delay.is_none()
            && self.readers.is_empty()
            && self.permits.is_empty()
            && self.queue.is_empty()
    }

    pub(super) fn scene(&self, guards: &HashSet<LeaseId>) -> Scene {
        let queue: Vec<_> = self.queue.values().take(Scene::QUEUE).cloned().collect();
        let mut guarded = leases_of(&queue);
        guarded.retain(|lease| guards.contains(lease));
        Scene {
            tenures: Tenures {
                holder: self.holder(),
                delayed: self.delay.is_some(),
                readers: self.readers.values().take(READERS).cloned().collect(),
                permits: self.permits.values().cloned().collect(),
            },
            queue,
            guarded,
        }
    }

    pub(super) fn holder(&self) -> Option<Hold> {
        let (token, lease) = self.holder?;
        let meta = self
            .meta
            .as_ref()
            .filter(|(revision, _)| *revision == token);
        Some(Hold {
            mode: Mode::Exclusive,
            token,
            lease,
            meta: meta.map(|(_, meta)| Arc::clone(meta)),
        })
    }

    /// All tenures.
    pub(super) fn holds(&self) -> impl Iterator<Item = Hold> {
        let others = self.readers.values().chain(self.permits.values()).cloned();
        self.holder().into_iter().chain(others)
    }

    /// All waiters.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.queue.values()
    }

    pub(super) fn waits(&self, request: &RequestId) -> bool {
        self.places.contains_key(request)
    }

    /// Whether the request holds or waits.
    pub(super) fn knows(&self, request: &RequestId) -> bool {
        let holds = self
            .meta
            .as_ref()
            .is_some_and(|(_, meta)| meta.request == *request);
        holds
            || self.readers.contains_key(request)
            || self.permits.contains_key(request)
            || self.waits(request)
    }

    /// D: its own lease, and that of the tenure it is of.
    pub(super) fn delay(&self) -> Option<(LeaseId, LeaseId)> {
        self.delay.map(|(own, delay)| (own, delay.of))
    }

    /// Its name, as far as its keys tell.
    pub(super) fn name(&self) -> Option<&LockKey> {
        let queue = self.queue.values().map(|waiting| &waiting.waiter.meta);
        let holds = self.readers.values().chain(self.permits.values());
        let holds = holds.filter_map(|hold| hold.meta.as_deref());
        let known = holds.chain(queue).map(|meta| &meta.key).next();
        self.name.as_ref().or(known)
    }

    /// Mod revision of M.
    pub(super) fn meta_revision(&self) -> Option<i64> {
        self.meta.as_ref().map(|(revision, _)| *revision)
    }

    pub(super) fn put_holder(&mut self, kv: &KeyValue) {
        if self.name.is_none() {
            self.name = keys::name_of_holder(kv.key());
        }
        self.holder = Some((kv.mod_revision(), LeaseId(kv.lease())));
    }

    pub(super) fn delete_holder(&mut self) {
        self.holder = None;
    }

    pub(super) fn put_meta(&mut self, kv: &KeyValue) {
        // A record of a later version is left to replicas of that version; so are all below.
        let meta = records::decode(kv.value()).ok();
        self.meta = meta.map(|meta| (kv.mod_revision(), Arc::new(meta)));
    }

    pub(super) fn delete_meta(&mut self) {
        self.meta = None;
    }

    pub(super) fn put_delay(&mut self, kv: &KeyValue) {
        let of = records::decode(kv.value()).unwrap_or(Delay { of: LeaseId(0) });
        self.delay = Some((LeaseId(kv.lease()), of));
    }

    pub(super) fn delete_delay(&mut self) {
        self.delay = None;
    }

    pub(super) fn put_reader(&mut self, request: RequestId, kv: &KeyValue) {
        if let Ok(hold) = Hold::read(kv) {
            self.readers.insert(request, hold);
        }
    }

    pub(super) fn delete_reader(&mut self, request: &RequestId) {
        self.readers.remove(request);
    }

    pub(super) fn put_permit(&mut self, request: RequestId, kv: &KeyValue) {
        if let Ok(hold) = Hold::read(kv) {
            self.permits.insert(request, hold);
        }
    }

    pub(super) fn delete_permit(&mut self, request: &RequestId) {
        self.permits.remove(request);
    }

    /// Takes in an entry; the leases that it names.
    pub(super) fn put_waiter(&mut self, request: RequestId, kv: &KeyValue) -> Vec<LeaseId> {
        let Ok(waiting) = Waiting::read(kv) else {
            return Vec::new();
        };
        let leases = waiting.waiter.meta.leases.all().collect();
        self.places.insert(request.clone(), waiting.place);
        self.queue.insert((waiting.place, request), waiting);
        leases
    }

    /// Takes out an entry; the leases that it named.
    pub(super) fn delete_waiter(&mut self, request: RequestId) -> Vec<LeaseId> {
        let place = self.places.remove(&request);
        let gone = place.and_then(|place| self.queue.remove(&(place, request)));
        gone.map(|waiting| waiting.waiter.meta.leases.all().collect())
            .unwrap_or_default()
    }
}
