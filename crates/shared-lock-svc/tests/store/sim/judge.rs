//! What must hold, looked at after every step and every answer. The judge keeps books of its own
//! about every lock, from what was asked and what the machine says that happened, and knows nothing
//! of how it came to that.

mod books;
mod events;
mod rings;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use shared_lock_svc::{
    lease::{Claim, FencingToken, LeaseId, LockKey, Mode, Note},
    state::{Answer, Event, Grant, Moment, Moved, Several, Table},
};

use self::books::{Book, Promise};
use super::messages::{Ask, Id};

#[derive(Default)]
pub(crate) struct Judge {
    locks: BTreeMap<LockKey, Book>,
    sessions: BTreeMap<LeaseId, Session>,
    sessions_ever: Vec<LeaseId>,
    /// The token that was told for a request: one at most.
    told: HashMap<Id, FencingToken>,
    /// Requests whose end was acknowledged.
    ended: HashSet<Id>,
    pub(crate) violation: Option<String>,
    pub(crate) grants_told: usize,
    pub(crate) deadlocks: usize,
}

/// A session.
struct Session {
    ttl: Duration,
    due: Moment,
    /// How long a client may rely on it.
    promised: Option<Moment>,
}

impl Judge {
    /// Something is about to be carried out.
    pub(crate) fn asked(&mut self, ask: &Ask) {
        match ask {
            Ask::Release { key, claim, .. } => {
                let book = self.book(key);
                book.promises.retain(|promise| !promise.is_claimed(claim));
            }
            Ask::Force(key) => {
                let book = self.book(key);
                book.promises.clear();
                book.forced_up_to = book.highest;
            }
            Ask::EndSession(id) => {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.promised = None;
                }
                for book in self.locks.values_mut() {
                    book.promises.retain(|promise| promise.session != Some(*id));
                }
            }
            _ => {}
        }
    }

    /// It was carried out: this came of it, and was written up to `position`.
    pub(crate) fn moved(&mut self, ask: &Ask, moved: &Moved, position: u64, now: Moment) {
        if let Ask::OpenSession {
            id: Some(id), ttl, ..
        } = ask
        {
            self.begin_session(*id, *ttl, now);
        }
        if let (Ask::AcquireAll { several, .. }, Answer::Granted) = (ask, &moved.answer)
            && let Some((_, ttl)) = &several.opens
        {
            self.begin_session(several.session, *ttl, now);
        }
        for (key, event) in &moved.events {
            self.happened(ask, key, event, position, now);
        }
        self.sessions.retain(|_, session| session.due > now);
        self.answered(ask, moved, now);
        self.nobody_waits_in_vain(now);
    }

    /// Several locks are still wanted: not all of them may be there to be had.
    pub(crate) fn tries(&mut self, several: &Several, now: Moment) {
        if several.opens.is_none() && !self.sessions.contains_key(&several.session) {
            return;
        }
        let is_free = |(key, mode): (&LockKey, Mode)| {
            let book = self.locks.get(key);
            book.is_none_or(|book| book.is_free_for(mode, now))
        };
        let mut wanted = several.wishes.iter().map(|(key, wish)| (key, wish.mode));
        if wanted.all(is_free) {
            self.fault("several locks are all free, and still waited for".into());
        }
    }

    /// A client is told that it has the lock.
    pub(crate) fn tells(&mut self, id: &Id, grant: &Grant, note: Option<Note>, until: Moment) {
        let (key, request) = id;
        self.grants_told += 1;
        let token = grant.token;
        if self.ended.contains(id) {
            self.fault(format!("{request} got {key} after it was ended"));
        }
        let before = self.told.insert(id.clone(), token);
        if before.is_some_and(|before| before != token) {
            self.fault(format!("{request} got tokens {before:?} and {token}"));
        }
        let book = self.book(key);
        let holds = book
            .holders
            .iter()
            .any(|it| it.request == *request && it.token == token);
        let right = book.note() == note.as_ref();
        book.highest_told = book.highest_told.max(Some(token));
        book.promises.retain(|promise| promise.request != *request);
        book.promises.push(Promise {
            request: request.clone(),
            lease: grant.wish.lease_id,
            session: grant.wish.session(),
            token,
            mode: grant.wish.mode,
            until,
        });
        if !holds {
            self.fault(format!(
                "{request} is told token {token} of {key}, and does not hold it"
            ));
        }
        if !right {
            self.fault(format!(
                "{request} is told a note of {key} that nobody left: {note:?}"
            ));
        }
    }

    /// A client is told that a session lives.
    pub(crate) fn tells_session(&mut self, id: LeaseId, until: Moment) {
        match self.sessions.get_mut(&id) {
            Some(session) => session.promised = Some(until),
            None => self.fault(format!("session {id} is told, and is not there")),
        }
    }

    /// What was written up to `position` was acknowledged, the end of a request perhaps.
    pub(crate) fn acknowledged(&mut self, ended: Option<Id>, position: u64) {
        self.ended.extend(ended);
        for book in self.locks.values_mut() {
            book.settle_notes(position);
        }
    }

    /// What nobody was told may be forgotten: the ends of requests too.
    pub(crate) fn crashed(&mut self) {
        for book in self.locks.values_mut() {
            book.queue.clear();
            book.over.clear();
            book.highest = book.highest_told;
        }
    }

    /// The server is back. What was promised must be there, for its full life again.
    pub(crate) fn restarted(&mut self, table: &Table, now: Moment) {
        let mut faults = Vec::new();
        for (id, session) in &self.sessions {
            let promised = session.promised.is_some_and(|until| until > now);
            if promised && table.session(*id).is_none() {
                faults.push(format!("session {id} was promised and lost in a restart"));
            }
        }
        for id in &self.sessions_ever {
            match table.session(*id) {
                Some(open) => {
                    let promised = self.sessions.get(id).and_then(|session| session.promised);
                    let session = Session {
                        ttl: open.ttl,
                        due: open.until,
                        promised,
                    };
                    self.sessions.insert(*id, session);
                }
                None => drop(self.sessions.remove(id)),
            }
        }
        for (key, book) in &mut self.locks {
            faults.extend(book.restarted(key, table.lock(key), now));
            let ended = &self.ended;
            let back = book
                .holders
                .iter()
                .map(|it| (key.clone(), it.request.clone()));
            faults.extend(
                back.filter(|id| ended.contains(id))
                    .map(|(key, request)| format!("{request} holds {key} again after its end")),
            );
        }
        faults.into_iter().for_each(|fault| self.fault(fault));
    }

    /// How many locks have a note.
    pub(crate) fn notes(&self) -> usize {
        let noted = self.locks.values().filter(|book| book.note().is_some());
        noted.count()
    }

    pub(crate) fn fault(&mut self, fault: String) {
        self.violation.get_or_insert(fault);
    }

    fn book(&mut self, key: &LockKey) -> &mut Book {
        self.locks.entry(key.clone()).or_default()
    }

    fn begin_session(&mut self, id: LeaseId, ttl: Duration, now: Moment) {
        let session = Session {
            ttl,
            due: now + ttl,
            promised: None,
        };
        self.sessions.insert(id, session);
        self.sessions_ever.push(id);
    }

    fn answered(&mut self, ask: &Ask, moved: &Moved, now: Moment) {
        match (ask, &moved.answer) {
            (Ask::Acquire { key, wish, .. }, Answer::Held)
                if self.book(key).is_free_for(wish.mode, now) =>
            {
                self.fault(format!("{} is told that {key} is held", wish.request_id));
            }
            (Ask::Acquire { key, wish, .. }, Answer::Queued) => {
                if let Some(ring) = self.ring_from(key, &wish.request_id) {
                    let request = &wish.request_id;
                    self.fault(format!("{request} closes a ring and is not told: {ring:?}"));
                }
            }
            (Ask::Acquire { key, wish, .. }, Answer::Deadlock(ring)) => {
                self.deadlocks += 1;
                let request = &wish.request_id;
                let waits = self.book(key).waits(request);
                if waits || ring.first() != Some(&(key.clone(), wish.holder.clone())) {
                    self.fault(format!("{request} is told of a ring, and still waits"));
                }
            }
            (Ask::AcquireAll { several, .. }, answer) => self.all_or_none(several, answer, moved),
            (Ask::KeepAlive(lease), Answer::Renewed(_)) => self.renewed(*lease, now),
            (Ask::KeepAlive(lease), _) => self.gone(*lease, now),
            (Ask::EndSession(id), _) => {
                self.sessions.remove(id);
                if let Some(key) = self.hangs_on(*id) {
                    self.fault(format!("session {id} is over, and {key} still hangs on it"));
                }
            }
            (Ask::Force(key), _) => {
                let book = self.book(key);
                let forced = book.forced_up_to;
                if book.holders.iter().any(|it| Some(it.token) <= forced) {
                    self.fault(format!(
                        "{key} was taken by force, and somebody still has it"
                    ));
                }
            }
            (Ask::Release { key, claim, .. }, _) => {
                let book = self.book(key);
                let held = book.holders.iter().any(|it| it.is_claimed(claim));
                let waits = matches!(claim, Claim::Request(request) if book.waits(request));
                if held || waits {
                    self.fault(format!("{key} was released, and that goes on: {claim:?}"));
                }
            }
            _ => {}
        }
    }

    fn all_or_none(&mut self, several: &Several, answer: &Answer, moved: &Moved) {
        let Some((_, first)) = several.wishes.first() else {
            return;
        };
        let granted = moved.events.iter().filter(|(_, event)| {
            matches!(event, Event::Granted(grant) if grant.wish.request_id == first.request_id)
        });
        let expected = match answer {
            Answer::Granted => several.wishes.len(),
            _ => 0,
        };
        let granted = granted.count();
        if granted != expected {
            let all = several.wishes.len();
            self.fault(format!(
                "{granted} locks of {all} were granted at once: {answer:?}"
            ));
        }
    }

    fn renewed(&mut self, lease: LeaseId, now: Moment) {
        if let Some(session) = self.sessions.get_mut(&lease) {
            session.due = now + session.ttl;
            session.promised = session.promised.map(|_| now + session.ttl);
            let due = session.due;
            let books = self.locks.values_mut();
            for promise in books.flat_map(|book| &mut book.promises) {
                if promise.session == Some(lease) {
                    promise.until = due;
                }
            }
            return;
        }
        let mut books = self.locks.values_mut();
        if !books.any(|book| book.renew(lease, now)) {
            self.fault(format!("lease {lease} was renewed, and holds nothing"));
        }
    }

    fn gone(&mut self, lease: LeaseId, now: Moment) {
        let promises = self.locks.values().flat_map(|book| &book.promises);
        let mut promises = promises.filter(|promise| promise.until > now);
        let session = self.sessions.get(&lease);
        let session = session.and_then(|session| session.promised);
        if promises.any(|promise| promise.lease == lease) || session > Some(now) {
            self.fault(format!("lease {lease} was promised longer"));
        }
    }

    fn hangs_on(&self, id: LeaseId) -> Option<&LockKey> {
        let hangs = |book: &Book| {
            let holds = book.holders.iter().any(|it| it.session == Some(id));
            holds || book.queue.iter().any(|it| it.session == Some(id))
        };
        self.locks
            .iter()
            .find(|(_, book)| hangs(book))
            .map(|(key, _)| key)
    }

    fn nobody_waits_in_vain(&mut self, now: Moment) {
        let sessions = &self.sessions;
        let due = |id: LeaseId| sessions.get(&id).map(|session| session.due);
        let fault = self
            .locks
            .iter()
            .find_map(|(key, book)| book.stuck(key, due, now));
        if let Some(fault) = fault {
            self.fault(fault);
        }
    }
}
