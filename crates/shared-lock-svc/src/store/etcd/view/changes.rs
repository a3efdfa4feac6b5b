//! What happened to a lock, told from how it stood before and after.

use std::{collections::HashMap, time::SystemTime};

use etcd_client::{Event, EventType, KeyValue};

use super::{
    super::{
        keys::{Segment, Spot},
        records::{self, Cause, Ended, Ending, Meta},
        sight::{Hold, Waiting},
    },
    Seen,
    lock::SeenLock,
};
use crate::lease::{EventKind, FencingToken, LockEvent, LockKey, RequestId};

/// What a step of etcd, or a read, is going to change.
#[derive(Default)]
pub(super) struct Changes {
    /// The locks that it touches, in that order, as they stood before.
    before: Vec<Before>,
    endings: HashMap<Segment, Ending>,
    queued: Vec<Waiting>,
}

/// A lock before a step.
struct Before {
    segment: Segment,
    name: Option<LockKey>,
    holds: Vec<Hold>,
}

impl Changes {
    /// Takes note of what one event of the step is about to change.
    pub(super) fn expect(&mut self, seen: &Seen, event: &Event) {
        let Some(kv) = event.kv() else { return };
        let is_put = event.event_type() == EventType::Put;
        match Spot::of(kv.key()) {
            Spot::Holder(segment)
            | Spot::Meta(segment)
            | Spot::Reader(segment, _)
            | Spot::Permit(segment, _) => self.expect_tenures(seen, &segment),
            Spot::Waiter(segment, request) if is_put && !seen.waits(&segment, &request) => {
                self.queued.extend(Waiting::read(kv));
            }
            Spot::Ending(segment) if is_put => self.end(segment, kv),
            _ => {}
        }
    }

    /// Takes note of a key that was read.
    pub(super) fn expect_key(&mut self, seen: &Seen, kv: &KeyValue) {
        match Spot::of(kv.key()) {
            Spot::Waiter(segment, request) if !seen.waits(&segment, &request) => {
                self.queued.extend(Waiting::read(kv));
            }
            Spot::Ending(segment) => self.end(segment, kv),
            spot => {
                if let Some(segment) = spot.segment() {
                    self.expect_tenures(seen, segment);
                }
            }
        }
    }

    /// Takes note of how a lock stands.
    pub(super) fn expect_tenures(&mut self, seen: &Seen, segment: &Segment) {
        if !self.before.iter().any(|before| before.segment == *segment) {
            self.before.push(Before {
                segment: segment.clone(),
                name: seen.name(segment),
                holds: seen.holds(segment),
            });
        }
    }

    fn end(&mut self, segment: Segment, kv: &KeyValue) {
        if let Ok(ending) = records::decode(kv.value()) {
            self.endings.insert(segment, ending);
        }
    }

    /// What came of it: ends before beginnings, since a hand-over is both.
    pub(super) fn told(self, seen: &Seen, revision: i64) -> Vec<LockEvent> {
        let teller = Teller {
            seen,
            position: revision.unsigned_abs(),
            at: SystemTime::now(),
        };
        let mut told = Vec::new();
        for before in &self.before {
            let after = seen.holds(&before.segment);
            let ending = self.endings.get(&before.segment);
            let ended = before.holds.iter().filter(|hold| !has(&after, hold));
            told.extend(ended.filter_map(|hold| teller.ended(before, hold, ending)));
            let begun = after.iter().filter(|hold| !has(&before.holds, hold));
            told.extend(begun.filter_map(|hold| teller.begun(before, hold)));
        }
        told.extend(self.queued.iter().map(|waiting| teller.queued(waiting)));
        told
    }
}

fn has(holds: &[Hold], wanted: &Hold) -> bool {
    holds.iter().any(|hold| hold.is(wanted))
}

/// Puts what happened at one moment into words.
struct Teller<'a> {
    seen: &'a Seen,
    position: u64,
    at: SystemTime,
}

impl Teller<'_> {
    fn begun(&self, before: &Before, hold: &Hold) -> Option<LockEvent> {
        let of_call = hold.meta.as_ref().and_then(|meta| meta.trace_id.clone());
        Some(LockEvent {
            trace_id: of_call,
            ..self.of_hold(before, hold, EventKind::Acquired)?
        })
    }

    /// A tenure that no marker names ran out, unless its record is still there: a lease takes all of
    /// its keys with it.
    fn ended(&self, before: &Before, hold: &Hold, ending: Option<&Ending>) -> Option<LockEvent> {
        let is_it = |ended: &Ended| {
            let request = hold.meta.as_ref().map(|meta| &meta.request);
            ended.token == hold.token && ended.request.as_ref() == request
        };
        let marked = ending.filter(|ending| ending.tenures.iter().any(is_it));
        let kind = match marked.map(|ending| ending.cause) {
            Some(Cause::Forced) => EventKind::Lost,
            Some(_) => EventKind::Released,
            None if self.seen.was_taken(&before.segment, hold) => EventKind::Lost,
            None => EventKind::Expired,
        };
        Some(LockEvent {
            trace_id: marked.and_then(|ending| ending.trace_id.clone()),
            reason: marked.and_then(|ending| ending.reason.clone()),
            ..self.of_hold(before, hold, kind)?
        })
    }

    fn queued(&self, waiting: &Waiting) -> LockEvent {
        let meta = &waiting.waiter.meta;
        LockEvent {
            trace_id: meta.trace_id.clone(),
            ..self.event(meta.key.clone(), EventKind::Queued, Some(meta))
        }
    }

    fn of_hold(&self, before: &Before, hold: &Hold, kind: EventKind) -> Option<LockEvent> {
        let meta = hold.meta.as_deref();
        let key = match meta {
            Some(meta) => meta.key.clone(),
            None => before
                .name
                .clone()
                .or_else(|| self.seen.name(&before.segment))?,
        };
        let token = hold.token.unsigned_abs().try_into().ok();
        Some(LockEvent {
            mode: hold.mode,
            fencing_token: token.map(FencingToken),
            ..self.event(key, kind, meta)
        })
    }

    fn event(&self, key: LockKey, kind: EventKind, meta: Option<&Meta>) -> LockEvent {
        LockEvent {
            key,
            kind,
            position: self.position,
            holder: meta.map(|meta| meta.holder.clone()),
            mode: meta.map(|meta| meta.mode).unwrap_or_default(),
            fencing_token: None,
            request_id: meta.map(|meta| meta.request.clone()),
            trace_id: None,
            reason: None,
            at: self.at,
            is_ours: self.seen.records(meta.map(|meta| meta.replica.as_str())),
        }
    }
}

impl Seen {
    fn holds(&self, segment: &Segment) -> Vec<Hold> {
        let lock = self.locks.get(segment);
        lock.map(SeenLock::holds_in_order).unwrap_or_default()
    }

    fn waits(&self, segment: &Segment, request: &RequestId) -> bool {
        let lock = self.locks.get(segment);
        lock.is_some_and(|lock| lock.waits(request))
    }

    /// Whether the holder key went, or was written over, without the record beside it.
    fn was_taken(&self, segment: &Segment, hold: &Hold) -> bool {
        let lock = self.locks.get(segment);
        lock.is_some_and(|lock| lock.meta_revision() == Some(hold.token))
    }

    /// The name of a lock, as far as its keys tell.
    fn name(&self, segment: &Segment) -> Option<LockKey> {
        self.locks.get(segment)?.name().cloned()
    }

    /// Whether this replica is the one to record what becomes of a request: the one it lives at, or
    /// the first of all when that one is gone or there is none.
    fn records(&self, owner: Option<&str>) -> bool {
        match owner.filter(|owner| self.replicas.contains(*owner)) {
            Some(owner) => owner == self.me,
            None => self.replicas.first().is_none_or(|first| *first == self.me),
        }
    }
}
