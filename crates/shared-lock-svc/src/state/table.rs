//! Many locks: which lease belongs to which, and which is due next.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    mem,
    ops::Bound,
};

use super::{
    Answer, Cause, Change, Command, Event, Grant, Lock, Moment, Outcome, sessions::Sessions, step,
};
use crate::lease::{LeaseId, LockKey};

/// What moves a lock: [`step`], or one of the planted bugs of its simulation.
pub type Step = fn(Lock, Command, Moment) -> (Lock, Outcome);

/// The locks of a store. Idle ones are forgotten, but never their tokens.
#[derive(Debug)]
pub struct Table {
    step: Step,
    slots: BTreeMap<LockKey, Slot>,
    /// The own leases of tenures.
    leases: HashMap<LeaseId, LockKey>,
    pub(super) sessions: Sessions,
    /// One live alarm a slot or session at most; those that nobody knows any more are stale.
    alarms: BinaryHeap<Reverse<(Moment, Due)>>,
    last_token: u64,
}

#[derive(Debug, Default)]
struct Slot {
    lock: Lock,
    alarm: Option<Moment>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Lock(LockKey),
    Session(LeaseId),
}

/// What came of moving a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The answer to what was asked.
    pub answer: Answer,
    /// What happened to which lock, in order: also what time has brought about meanwhile.
    pub events: Vec<(LockKey, Event)>,
    /// What the disk must learn.
    pub changes: Vec<Change>,
}

impl Moved {
    pub(super) fn answering(self, answer: Answer) -> Self {
        Self { answer, ..self }
    }
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
            slots: BTreeMap::new(),
            leases: HashMap::new(),
            sessions: Sessions::default(),
            alarms: BinaryHeap::new(),
            last_token: 0,
        }
    }

    /// Moves one lock, after the time. A request in a session needs the session to live, and does not
    /// wait where it would wait for itself.
    pub fn step(&mut self, key: &LockKey, command: Command, now: Moment) -> Moved {
        let moved = self.tick(now);
        self.step_after(moved, key, command, now)
    }

    /// Lets time pass for whatever is due.
    pub fn tick(&mut self, now: Moment) -> Moved {
        let mut moved = Moved {
            answer: Answer::Done,
            events: Vec::new(),
            changes: Vec::new(),
        };
        while let Some(Reverse((at, _))) = self.alarms.peek()
            && *at <= now
            && let Some(Reverse((at, due))) = self.alarms.pop()
        {
            match due {
                Due::Lock(key) => {
                    let slot = self.slots.get_mut(&key);
                    let Some(slot) = slot.filter(|slot| slot.alarm == Some(at)) else {
                        continue;
                    };
                    slot.alarm = None;
                    self.move_lock(&key, Command::Tick, &mut moved, now);
                }
                Due::Session(id) => match self.session_due(id, now) {
                    Ok(()) => self.close_session(id, Cause::Expired, &mut moved, now),
                    Err(Some(until)) => self.arm_session(id, until),
                    Err(None) => {}
                },
            }
        }
        moved
    }

    /// When [`Table::tick`] has something to do.
    pub fn next_alarm(&self) -> Option<Moment> {
        self.alarms.peek().map(|Reverse((at, _))| *at)
    }

    /// A lock that is not idle, as its last step left it.
    pub fn lock(&self, key: &LockKey) -> Option<&Lock> {
        self.slots.get(key).map(|slot| &slot.lock)
    }

    /// The locks that somebody holds or waits for, from a prefix on, after a key.
    pub fn busy<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&LockKey>,
    ) -> impl Iterator<Item = (&'a LockKey, &'a Lock)> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        self.slots
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, slot)| (key, &slot.lock))
            .filter(|(_, lock)| lock.is_busy())
    }

    /// The lock that a lease of its own holds.
    pub fn key_of(&self, lease: LeaseId) -> Option<&LockKey> {
        self.leases.get(&lease)
    }

    /// Whether no tenure and no session has this lease.
    pub fn is_unused(&self, lease: LeaseId) -> bool {
        !self.leases.contains_key(&lease) && self.sessions.get(lease).is_none()
    }

    /// When a tenure ends, unless its lease is kept alive.
    pub fn end_of(&self, grant: &Grant) -> Moment {
        let session = || self.sessions.get(grant.wish.lease_id);
        let with_session = || session().map(|session| session.until);
        grant.until.or_else(with_session).unwrap_or_default()
    }

    /// The largest token granted so far.
    pub fn last_token(&self) -> u64 {
        self.last_token
    }

    /// How many locks and sessions there are to remember.
    pub fn len(&self) -> usize {
        self.slots.len() + self.sessions.len()
    }

    /// Whether every lock is idle, and there is no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn step_after(
        &mut self,
        mut moved: Moved,
        key: &LockKey,
        command: Command,
        now: Moment,
    ) -> Moved {
        let wish = match &command {
            Command::Acquire { wish, .. } if wish.in_session => Some(wish.clone()),
            _ => None,
        };
        if let Some(id) = wish.as_ref().and_then(|wish| wish.session())
            && self.sessions.get(id).is_none()
        {
            return moved.answering(Answer::SessionGone);
        }
        let answer = self.move_lock(key, command, &mut moved, now);
        if answer == Answer::Queued
            && let Some(wish) = wish
            && let Some(ring) = self.ring_of(key, &wish)
        {
            let leave = Command::Leave {
                request: wish.request_id.clone(),
                cause: Cause::Deadlock,
            };
            self.move_lock(key, leave, &mut moved, now);
            return moved.answering(Answer::Deadlock(ring));
        }
        moved.answering(answer)
    }

    pub(super) fn move_lock(
        &mut self,
        key: &LockKey,
        command: Command,
        moved: &mut Moved,
        now: Moment,
    ) -> Answer {
        let before = match self.slots.get_mut(key) {
            Some(slot) => mem::take(&mut slot.lock),
            None => Lock::after(self.last_token),
        };
        let (lock, outcome) = (self.step)(before, command, now);
        self.last_token = self.last_token.max(lock.last_token);
        if lock.is_idle() {
            self.slots.remove(key);
        } else {
            *self.lock_mut(key) = lock;
            self.arm(key);
        }
        for event in outcome.events {
            self.attach(key, &event);
            moved.changes.extend(Change::of(key, &event));
            moved.events.push((key.clone(), event));
        }
        outcome.answer
    }

    /// Keeps in mind what hangs on which lease.
    pub(super) fn attach(&mut self, key: &LockKey, event: &Event) {
        let (wish, holds, over) = match event {
            Event::Queued(wish) => (wish, false, false),
            Event::Granted(grant) => (&grant.wish, true, false),
            Event::Ended(grant, _) => (&grant.wish, true, true),
            Event::Left(wish, _) => (wish, false, true),
            _ => return,
        };
        let request = || (key.clone(), wish.request_id.clone());
        match (wish.session(), over) {
            (Some(id), false) => self.sessions.attach(id, request()),
            (Some(id), true) => self.sessions.detach(id, &request()),
            (None, false) if holds => drop(self.leases.insert(wish.lease_id, key.clone())),
            (None, true) if holds => drop(self.leases.remove(&wish.lease_id)),
            (None, _) => {}
        }
    }

    /// A lock to be changed, which is there from now on.
    pub(super) fn lock_mut(&mut self, key: &LockKey) -> &mut Lock {
        if !self.slots.contains_key(key) {
            let lock = Lock::after(self.last_token);
            let slot = Slot { lock, alarm: None };
            self.slots.insert(key.clone(), slot);
        }
        &mut self.slots.entry(key.clone()).or_default().lock
    }

    /// Goes on behind the tokens of a former life.
    pub(super) fn begin_at(&mut self, last_token: u64) {
        self.last_token = last_token;
    }

    pub(super) fn arm_all(&mut self) {
        let keys: Vec<_> = self.slots.keys().cloned().collect();
        keys.iter().for_each(|key| self.arm(key));
        let sessions: Vec<_> = self
            .sessions
            .all()
            .map(|(id, session)| (id, session.until))
            .collect();
        for (id, until) in sessions {
            self.arm_session(id, until);
        }
    }

    pub(super) fn arm_session(&mut self, id: LeaseId, until: Moment) {
        self.alarms.push(Reverse((until, Due::Session(id))));
    }

    /// Alarms only ever move forward; one that rings too early is set again.
    fn arm(&mut self, key: &LockKey) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if let Some(due) = slot.lock.next_change()
            && slot.alarm.is_none_or(|alarm| due < alarm)
        {
            slot.alarm = Some(due);
            self.alarms.push(Reverse((due, Due::Lock(key.clone()))));
        }
    }
}
