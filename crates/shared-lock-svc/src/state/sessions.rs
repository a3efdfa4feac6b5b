//! Sessions: leases that carry tenures of many locks, and requests for more.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{Answer, Cause, Change, Command, Moment, Moved, Table};
use crate::lease::{Holder, LeaseId, LockKey, RequestId};

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub holder: Holder,
    /// Its life.
    pub ttl: Duration,
    /// When it ends, unless it is kept alive.
    pub until: Moment,
}

/// The sessions of a table.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: HashMap<LeaseId, Open>,
}

#[derive(Debug)]
struct Open {
    session: Session,
    /// What holds or waits on its lease.
    requests: BTreeSet<(LockKey, RequestId)>,
}

impl Sessions {
    pub(super) fn insert(&mut self, id: LeaseId, session: Session) {
        let requests = BTreeSet::new();
        self.open.insert(id, Open { session, requests });
    }

    pub(super) fn get(&self, id: LeaseId) -> Option<&Session> {
        self.open.get(&id).map(|open| &open.session)
    }

    /// What holds or waits on the lease of a session.
    pub(super) fn requests(&self, id: LeaseId) -> impl Iterator<Item = &(LockKey, RequestId)> {
        self.open
            .get(&id)
            .into_iter()
            .flat_map(|open| &open.requests)
    }

    pub(super) fn attach(&mut self, id: LeaseId, request: (LockKey, RequestId)) {
        if let Some(open) = self.open.get_mut(&id) {
            open.requests.insert(request);
        }
    }

    pub(super) fn detach(&mut self, id: LeaseId, request: &(LockKey, RequestId)) {
        if let Some(open) = self.open.get_mut(&id) {
            open.requests.remove(request);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (LeaseId, &Session)> {
        self.open.iter().map(|(id, open)| (*id, &open.session))
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Restarts the life of a session.
    fn keep_alive(&mut self, id: LeaseId, now: Moment) -> Option<Duration> {
        let session = &mut self.open.get_mut(&id)?.session;
        session.until = now + session.ttl;
        Some(session.ttl)
    }
}

impl Table {
    /// Begins a session under an id that nobody has used.
    pub fn open_session(
        &mut self,
        id: LeaseId,
        holder: Holder,
        ttl: Duration,
        now: Moment,
    ) -> Moved {
        let mut moved = self.tick(now);
        self.begin_session(id, holder, ttl, &mut moved, now);
        moved.answering(Answer::Done)
    }

    /// Ends a session: what hangs on it is released.
    pub fn end_session(&mut self, id: LeaseId, now: Moment) -> Moved {
        let mut moved = self.tick(now);
        let answer = match self.sessions.get(id) {
            Some(_) => {
                self.close_session(id, Cause::SessionEnded, &mut moved, now);
                Answer::Released
            }
            None => Answer::Over,
        };
        moved.answering(answer)
    }

    /// A session that lives.
    pub fn session(&self, id: LeaseId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// Restarts the life of a lease, whatever hangs on it.
    pub fn keep_lease_alive(&mut self, lease: LeaseId, now: Moment) -> Moved {
        let moved = self.tick(now);
        if let Some(ttl) = self.sessions.keep_alive(lease, now) {
            return moved.answering(Answer::Renewed(ttl));
        }
        match self.key_of(lease).cloned() {
            Some(key) => self.step_after(moved, &key, Command::KeepAlive(lease), now),
            None => moved.answering(Answer::Gone),
        }
    }

    /// Restarts the life of a lease, if it holds this lock.
    pub fn keep_alive(&mut self, key: &LockKey, lease: LeaseId, now: Moment) -> Moved {
        let moved = self.tick(now);
        if self.sessions.get(lease).is_none() {
            return self.step_after(moved, key, Command::KeepAlive(lease), now);
        }
        let holds = self.lock(key).is_some_and(|lock| {
            let mut grants = lock.grants.iter();
            grants.any(|grant| grant.wish.lease_id == lease)
        });
        let kept = holds
            .then(|| self.sessions.keep_alive(lease, now))
            .flatten();
        moved.answering(kept.map_or(Answer::Gone, Answer::Renewed))
    }

    pub(super) fn begin_session(
        &mut self,
        id: LeaseId,
        holder: Holder,
        ttl: Duration,
        moved: &mut Moved,
        now: Moment,
    ) {
        let until = now + ttl;
        let session = Session { holder, ttl, until };
        self.sessions.insert(id, session.clone());
        self.arm_session(id, until);
        moved.changes.push(Change::Session(id, Some(session)));
    }

    pub(super) fn close_session(
        &mut self,
        id: LeaseId,
        cause: Cause,
        moved: &mut Moved,
        now: Moment,
    ) {
        let keys: BTreeSet<_> = self
            .sessions
            .requests(id)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            let end = Command::EndSession { lease: id, cause };
            self.move_lock(&key, end, moved, now);
        }
        self.sessions.open.remove(&id);
        moved.changes.push(Change::Session(id, None));
    }

    /// Whether a session is overdue; if it is not, when it will be.
    pub(super) fn session_due(&self, id: LeaseId, now: Moment) -> Result<(), Option<Moment>> {
        match self.sessions.get(id) {
            Some(session) if session.until <= now => Ok(()),
            other => Err(other.map(|session| session.until)),
        }
    }
}
