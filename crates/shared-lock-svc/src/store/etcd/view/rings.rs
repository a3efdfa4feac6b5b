//! Sessions that wait for each other.
//!
//! Whoever waits, waits for those that hold the lock against it and for those that stand before it: as
//! long as they hold or wait themselves, it gets nothing. A session stands for one thread that does one
//! thing after the other, so that it gives nothing back while any of its requests waits. Only sessions
//! that want or hold a lock alone or as readers count: nobody knows what another lease waits for, and of
//! permits any may come free.

use std::collections::{HashMap, HashSet};

use super::{super::sight::Waiting, Seen, View, lock::SeenLock};
use crate::lease::{Holder, LeaseId, LockKey, Mode, RequestId};

/// Requests each of which waits for the next, and the last for the first. The first is the youngest: it
/// is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Ring(Vec<Member>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    key: LockKey,
    request: RequestId,
    revision: i64,
    replica: String,
    holder: Holder,
}

impl Ring {
    /// The request that is told, if it lives at this replica.
    pub(in super::super) fn told_at(&self, replica: &str) -> Option<(&LockKey, &RequestId)> {
        let told = self.0.first().filter(|told| told.replica == replica)?;
        Some((&told.key, &told.request))
    }

    /// Who waits for what.
    pub(in super::super) fn words(&self) -> Vec<(LockKey, Holder)> {
        let members = self.0.iter();
        members
            .map(|member| (member.key.clone(), member.holder.clone()))
            .collect()
    }
}

impl View {
    /// All rings that one walk finds. The walk goes by the age of the requests, so that every replica
    /// that has seen the same finds the same.
    pub(in super::super) fn rings(&self) -> Vec<Ring> {
        Graph::of(&self.seen()).rings()
    }
}

/// Whether a request can be part of a ring.
fn counts(waiting: &Waiting) -> bool {
    let meta = &waiting.waiter.meta;
    meta.leases.session && !matches!(meta.mode, Mode::Permit { .. })
}

fn session(waiting: &Waiting) -> LeaseId {
    waiting.waiter.meta.leases.lease
}

/// Who waits for whom.
struct Graph<'a> {
    /// The requests that count, the oldest first.
    requests: Vec<&'a Waiting>,
    /// The sessions that each of them waits for.
    blockers: Vec<HashSet<LeaseId>>,
    /// The requests of each session.
    of_session: HashMap<LeaseId, Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn of(seen: &'a Seen) -> Self {
        let mut found: Vec<(&Waiting, HashSet<LeaseId>)> = Vec::new();
        for lock in seen.locks.values() {
            found.extend(seen.waits_for(lock));
        }
        found.sort_by(|(one, _), (other, _)| {
            (one.place, &one.request).cmp(&(other.place, &other.request))
        });
        let (requests, blockers): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let mut of_session: HashMap<_, Vec<_>> = HashMap::new();
        for (at, waiting) in requests.iter().enumerate() {
            of_session.entry(session(waiting)).or_default().push(at);
        }
        Self {
            requests,
            blockers,
            of_session,
        }
    }

    /// Walks from the oldest request on, into each but once.
    fn rings(&self) -> Vec<Ring> {
        let mut rings = Vec::new();
        let mut visited = vec![false; self.requests.len()];
        for start in 0..self.requests.len() {
            let mut trail = vec![(start, self.next_of(start))];
            while let Some((at, next)) = trail.last_mut() {
                visited[*at] = true;
                match next.pop() {
                    None => drop(trail.pop()),
                    Some(to) => match trail.iter().position(|(on, _)| *on == to) {
                        Some(first) => rings.push(self.ring(&trail[first..])),
                        None if !visited[to] => trail.push((to, self.next_of(to))),
                        None => {}
                    },
                }
            }
        }
        rings
    }

    /// The requests of those that a request waits for, the oldest last.
    fn next_of(&self, at: usize) -> Vec<usize> {
        let sessions = self.blockers[at].iter();
        let requests = sessions.filter_map(|session| self.of_session.get(session));
        let mut next: Vec<_> = requests.flatten().copied().collect();
        next.sort_unstable_by(|one, other| other.cmp(one));
        next
    }

    fn ring(&self, trail: &[(usize, Vec<usize>)]) -> Ring {
        let youngest = trail.iter().enumerate().max_by_key(|(_, (at, _))| *at);
        let turn = youngest.map_or(0, |(turn, _)| turn);
        let members = trail[turn..].iter().chain(&trail[..turn]);
        Ring(members.map(|(at, _)| member(self.requests[*at])).collect())
    }
}

impl Seen {
    /// The requests of a lock that count, each with the sessions that it waits for: those that hold, and
    /// those before it. Readers do not wait for one another; and whoever waits for a writer in the queue
    /// waits with it for all that stand before.
    fn waits_for<'a>(&self, lock: &'a SeenLock) -> Vec<(&'a Waiting, HashSet<LeaseId>)> {
        let holders: Vec<_> = lock.sessions_that_hold().collect();
        let waiting = lock.waiting().filter(|waiting| counts(waiting));
        let mut before = Ahead::default();
        let mut found = Vec::new();
        for waiting in waiting.filter(|waiting| self.guards.contains(&session(waiting))) {
            let (mode, own) = (waiting.waiter.meta.mode, session(waiting));
            let against = holders
                .iter()
                .filter(|(held, _)| Mode::Exclusive == *held || Mode::Exclusive == mode);
            let mut blockers: HashSet<_> = against.map(|(_, lease)| *lease).collect();
            // A session is not behind itself: its requests are served one after the other.
            blockers.extend(before.of(mode).filter(|before| *before != own));
            found.push((waiting, blockers));
            before.pass(mode, own);
        }
        found
    }
}

/// The sessions that whoever joins a queue stands behind.
#[derive(Default)]
struct Ahead {
    writers: Vec<LeaseId>,
    /// Readers behind the last of the writers.
    readers: Vec<LeaseId>,
}

impl Ahead {
    /// Those that somebody of this mode waits for.
    fn of(&self, mode: Mode) -> impl Iterator<Item = LeaseId> {
        let readers: &[LeaseId] = match mode {
            Mode::Exclusive => &self.readers,
            Mode::Shared | Mode::Permit { .. } => &[],
        };
        // The last two: one of them may be the asker itself.
        let writers = self.writers.iter().rev().take(2);
        writers.chain(readers).copied()
    }

    fn pass(&mut self, mode: Mode, session: LeaseId) {
        match mode {
            Mode::Exclusive => {
                self.readers.clear();
                if self.writers.last() != Some(&session) {
                    self.writers.push(session);
                }
            }
            Mode::Shared | Mode::Permit { .. } => self.readers.push(session),
        }
    }
}

fn member(waiting: &Waiting) -> Member {
    let meta = &waiting.waiter.meta;
    Member {
        key: meta.key.clone(),
        request: waiting.request.clone(),
        revision: waiting.revision,
        replica: meta.replica.clone(),
        holder: meta.holder.clone(),
    }
}
