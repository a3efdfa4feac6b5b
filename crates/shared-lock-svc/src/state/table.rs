//! Many locks: which lease belongs to which, which is due next, and what a crash must not take.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    mem,
};

use super::{Answer, Cause, Command, Event, Grant, Lock, Moment, Outcome, TOMBSTONE_LIFE, step};
use crate::lease::{LeaseId, LockKey, RequestId};

/// What moves a lock: [`step`], or one of the planted bugs of its simulation.
pub type Step = fn(Lock, Command, Moment) -> (Lock, Outcome);

/// The locks of a store. Idle ones are forgotten, but never their tokens.
#[derive(Debug)]
pub struct Table {
    step: Step,
    slots: HashMap<LockKey, Slot>,
    leases: HashMap<LeaseId, LockKey>,
    /// One live alarm a slot at most; one that its slot does not know any more is stale.
    alarms: BinaryHeap<Reverse<(Moment, LockKey)>>,
    last_token: u64,
}

#[derive(Debug, Default)]
struct Slot {
    lock: Lock,
    alarm: Option<Moment>,
}

/// A row that must reach the disk before anybody hears of the step that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Who holds the lock now; `None`: nobody.
    Grant(LockKey, Option<Grant>),
    /// A request has ended.
    Ended(LockKey, RequestId),
    /// It is remembered no longer.
    Forgotten(LockKey, RequestId),
}

/// What a restart finds on the disk. Waiters are not there: they died with the process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Saved {
    /// The largest token that was ever granted.
    pub last_token: u64,
    /// Who holds which lock.
    pub grants: Vec<(LockKey, Grant)>,
    /// Requests that have ended.
    pub ended: Vec<(LockKey, RequestId)>,
}

impl Default for Table {
    fn default() -> Self {
        Self::moved_by(step)
    }
}

impl Table {
    /// A table without locks. Stores say [`Table::default`].
    pub fn moved_by(step: Step) -> Self {
        Self {
            step,
            slots: HashMap::new(),
            leases: HashMap::new(),
            alarms: BinaryHeap::new(),
            last_token: 0,
        }
    }

    /// The locks as they go on after a restart. Every lease and every tombstone gets its full life
    /// again, since nobody knows how long the process was away; etcd does so on a change of leader.
    #[must_use]
    pub fn restored(mut self, saved: Saved, now: Moment) -> Self {
        self.last_token = saved.last_token;
        for (key, grant) in saved.grants {
            self.last_token = self.last_token.max(grant.token.0.get());
            self.leases.insert(grant.wish.lease_id, key.clone());
            let until = now + grant.wish.ttl;
            self.slots.entry(key).or_default().lock.grant = Some(Grant { until, ..grant });
        }
        for (key, request) in saved.ended {
            let slot = self.slots.entry(key).or_default();
            slot.lock.ended.remember(request, now + TOMBSTONE_LIFE);
        }
        for (key, slot) in &mut self.slots {
            slot.lock.last_token = self.last_token;
            slot.set_alarm(key, &mut self.alarms);
        }
        self
    }

    /// Moves one lock.
    pub fn step(&mut self, key: &LockKey, command: Command, now: Moment) -> Outcome {
        let before = match self.slots.get_mut(key) {
            Some(slot) => mem::take(&mut slot.lock),
            None => Lock::after(self.last_token),
        };
        let lease_before = lease_of(&before);
        let (lock, outcome) = (self.step)(before, command, now);
        let lease = lease_of(&lock);
        if lease != lease_before {
            lease_before.map(|lease| self.leases.remove(&lease));
            lease.map(|lease| self.leases.insert(lease, key.clone()));
        }
        self.last_token = self.last_token.max(lock.last_token);
        if lock.is_idle() {
            self.slots.remove(key);
        } else {
            if !self.slots.contains_key(key) {
                self.slots.insert(key.clone(), Slot::default());
            }
            if let Some(slot) = self.slots.get_mut(key) {
                slot.lock = lock;
                slot.set_alarm(key, &mut self.alarms);
            }
        }
        outcome
    }

    /// Lets time pass for the locks that are due.
    pub fn tick(&mut self, now: Moment) -> Vec<(LockKey, Outcome)> {
        let mut outcomes = Vec::new();
        while let Some(Reverse((at, _))) = self.alarms.peek()
            && *at <= now
        {
            let Some(Reverse((at, key))) = self.alarms.pop() else {
                break;
            };
            let Some(slot) = self
                .slots
                .get_mut(&key)
                .filter(|slot| slot.alarm == Some(at))
            else {
                continue;
            };
            slot.alarm = None;
            let outcome = self.step(&key, Command::Tick, now);
            outcomes.push((key, outcome));
        }
        outcomes
    }

    /// When [`Table::tick`] has something to do.
    pub fn next_alarm(&self) -> Option<Moment> {
        self.alarms.peek().map(|Reverse((at, _))| *at)
    }

    /// A lock that is not idle, as its last step left it.
    pub fn lock(&self, key: &LockKey) -> Option<&Lock> {
        self.slots.get(key).map(|slot| &slot.lock)
    }

    /// The lock that a lease holds.
    pub fn key_of(&self, lease: LeaseId) -> Option<&LockKey> {
        self.leases.get(&lease)
    }

    /// The largest token granted so far.
    pub fn last_token(&self) -> u64 {
        self.last_token
    }

    /// How many locks there are to remember.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether every lock is idle.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What the disk must learn of a step that has just been made. A keepalive is not among it: a
    /// restart gives every lease its full life anyway.
    pub fn changes(&self, key: &LockKey, outcome: &Outcome) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut grant_changed = false;
        for event in &outcome.events {
            match event {
                Event::Granted(_) => grant_changed = true,
                Event::Ended(request, cause) => {
                    grant_changed |= *cause != Cause::Left;
                    changes.push(Change::Ended(key.clone(), request.clone()));
                }
                Event::Forgotten(request) => {
                    changes.push(Change::Forgotten(key.clone(), request.clone()))
                }
            }
        }
        if grant_changed {
            let grant = self.lock(key).and_then(|lock| lock.grant.clone());
            changes.push(Change::Grant(key.clone(), grant));
        }
        changes
    }
}

impl Slot {
    /// Alarms only ever move forward; one that rings too early is set again.
    fn set_alarm(&mut self, key: &LockKey, alarms: &mut BinaryHeap<Reverse<(Moment, LockKey)>>) {
        let Some(due) = self.lock.next_change() else {
            return;
        };
        if self.alarm.is_none_or(|alarm| due < alarm) {
            self.alarm = Some(due);
            alarms.push(Reverse((due, key.clone())));
        }
    }
}

fn lease_of(lock: &Lock) -> Option<LeaseId> {
    lock.grant.as_ref().map(|grant| grant.wish.lease_id)
}

impl Outcome {
    /// Whether the request of the command got the lock, now or before.
    pub fn is_granted(&self) -> bool {
        self.answer == Answer::Granted
    }
}
