//! What a crash must not take.

use std::time::Duration;

use super::{Event, Grant, Moment, Session, TOMBSTONE_LIFE, Table};
use crate::lease::{LeaseId, LockKey, Note, RequestId};

/// A row that must reach the disk before anybody hears of the step that made it. A keepalive is not
/// among them: a restart gives every lease its full life anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A request holds a lock.
    Granted(LockKey, Grant),
    /// It does not any more.
    Over(LockKey, RequestId),
    /// A request has ended.
    Ended(LockKey, RequestId),
    /// It is remembered no longer.
    Forgotten(LockKey, RequestId),
    /// Nobody gets the lock for so long; `None`: the delay is over.
    Resting(LockKey, Option<Duration>),
    /// The note of a lock; `None`: it has none.
    Note(LockKey, Option<Note>),
    /// A session; `None`: it is over.
    Session(LeaseId, Option<Session>),
}

impl Change {
    /// What the disk must learn of an event.
    pub fn of(key: &LockKey, event: &Event) -> Vec<Self> {
        let key = key.clone();
        match event {
            Event::Queued(_) => vec![],
            Event::Granted(grant) => vec![Self::Granted(key, grant.clone())],
            Event::Ended(grant, _) => {
                let request = &grant.wish.request_id;
                vec![
                    Self::Over(key.clone(), request.clone()),
                    Self::Ended(key, request.clone()),
                ]
            }
            Event::Left(wish, _) => vec![Self::Ended(key, wish.request_id.clone())],
            Event::Barred(request) => vec![Self::Ended(key, request.clone())],
            Event::Forgotten(request) => vec![Self::Forgotten(key, request.clone())],
            Event::Resting(delay) => vec![Self::Resting(key, Some(*delay))],
            Event::Rested => vec![Self::Resting(key, None)],
            Event::Noted(note) => vec![Self::Note(key, note.clone())],
        }
    }
}

/// What a restart finds on the disk. Waiters are not there: they died with the process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Saved {
    /// The largest token that was ever granted.
    pub last_token: u64,
    /// The sessions there are.
    pub sessions: Vec<(LeaseId, Session)>,
    /// Who holds which lock.
    pub grants: Vec<(LockKey, Grant)>,
    /// Locks that rest, and for how long.
    pub resting: Vec<(LockKey, Duration)>,
    /// What holders left.
    pub notes: Vec<(LockKey, Note)>,
    /// Requests that have ended.
    pub ended: Vec<(LockKey, RequestId)>,
}

impl Table {
    /// The locks as they go on after a restart. Every lease, every delay and every tombstone gets its
    /// full life again, since nobody knows how long the process was away; etcd does so on a change of
    /// leader.
    #[must_use]
    pub fn restored(mut self, saved: Saved, now: Moment) -> Self {
        let tokens = saved.grants.iter().map(|(_, grant)| grant.token.0.get());
        let last_token = tokens.fold(saved.last_token, u64::max);
        self.begin_at(last_token);
        for (id, session) in saved.sessions {
            let until = now + session.ttl;
            self.sessions.insert(id, Session { until, ..session });
        }
        let mut grants = saved.grants;
        grants.sort_by_key(|(_, grant)| grant.token);
        for (key, grant) in grants {
            // A session that is not there cannot end its tenures.
            let own = grant
                .wish
                .session()
                .is_none_or(|id| self.sessions.get(id).is_none());
            let until = own.then_some(now + grant.wish.ttl);
            let grant = Grant { until, ..grant };
            self.attach(&key, &Event::Granted(grant.clone()));
            self.lock_mut(&key).grants.push(grant);
        }
        for (key, delay) in saved.resting {
            self.lock_mut(&key).rests_until = Some(now + delay);
        }
        for (key, note) in saved.notes {
            self.lock_mut(&key).note = Some(note);
        }
        for (key, request) in saved.ended {
            let lock = self.lock_mut(&key);
            let bound = lock.bounds.ended;
            lock.ended
                .remember(request, now + TOMBSTONE_LIFE, bound)
                .for_each(drop);
        }
        self.arm_all();
        self
    }
}
