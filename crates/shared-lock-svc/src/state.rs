//! The lock as a pure machine: `step(lock, command, now)` gives the lock as it is afterwards and
//! what came of it. It does no I/O, reads no clock and draws no random number; whoever drives it
//! brings the time and fresh lease ids, so the same commands always end in the same state.
//!
//! A [`Lock`] is whole by itself, so that it may live in a document of its own. What spans locks is
//! in the [`Table`]: sessions, several locks at once, who waits for whom.
//!
//! What holds after every step:
//!
//! - a writer holds alone, readers only beside readers, permits only beside permits and never more
//!   weight than the least limit of all of them; each grant has a larger token than all before it;
//! - the head of the queue does not fit: who fits is granted in the step that makes the room, and
//!   nobody is ever skipped;
//! - one request is one tenure: a request that has ended gets nothing any more for
//!   [`TOMBSTONE_LIFE`];
//! - after an expiry nobody holds before the delay of the tenure is over.

mod ended;
mod turn;
mod wish;

mod changes;
mod deadlock;
mod sessions;
mod several;
mod table;

use std::{collections::VecDeque, ops::Add, sync::Arc, time::Duration};

use self::turn::Turn;
pub use self::{
    changes::{Change, Saved},
    ended::Ended,
    sessions::Session,
    several::Several,
    table::{Moved, Step, Table},
    wish::{Grant, Waiter, Wish},
};
use crate::lease::{Claim, Holder, LeaseId, LockKey, Mode, Note, RequestId};

/// How long a request that has ended is remembered: longer than any of its messages may be late.
pub const TOMBSTONE_LIFE: Duration = Duration::from_secs(60);

/// A point on the clock of whoever drives the machine. It must never go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long ago `earlier` was; zero when it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// One lock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// The largest token granted so far; the next one is larger.
    pub last_token: u64,
    /// Who holds it now, in the order of the tokens.
    pub grants: Vec<Grant>,
    /// Who waits, the next one first.
    pub queue: VecDeque<Waiter>,
    /// Nobody gets the lock before, because a tenure expired.
    pub rests_until: Option<Moment>,
    /// What a holder left for the next ones.
    pub note: Option<Note>,
    /// Requests that have ended.
    pub ended: Ended,
    /// How much of all this there may be.
    pub bounds: Bounds,
}

/// How much a lock remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Requests that may wait; the next one is told that the lock is held.
    pub waiters: usize,
    /// Ended requests that are remembered; the oldest goes first, even before its time.
    pub ended: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            waiters: 1000,
            ended: 20_000,
        }
    }
}

/// What a lock may be asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Take the lock, or stand in its queue for `wait`.
    Acquire {
        /// What is wanted.
        wish: Arc<Wish>,
        /// How long to wait; zero answers at once.
        wait: Duration,
    },
    /// Restart the life of a tenure's own lease. A session's is not known here.
    KeepAlive(LeaseId),
    /// End a tenure, or a request.
    Release {
        /// Which.
        claim: Claim,
        /// What the next holder is to read, should a tenure end; an empty one clears the note.
        note: Option<Note>,
    },
    /// A request that waits is still there, and may be missed for `wait` before it counts as gone.
    Stay {
        /// Which.
        request: RequestId,
        /// How long it may be missed.
        wait: Duration,
    },
    /// A request is to wait no longer, unless the lock came meanwhile.
    Leave {
        /// Which.
        request: RequestId,
        /// Why.
        cause: Cause,
    },
    /// End what a request has by one lease, and the request if it has nothing. What it has by another lease
    /// is somebody else's to tell of.
    Withdraw {
        /// Which.
        request: RequestId,
        /// The lease that nobody was told of.
        lease: LeaseId,
    },
    /// End whatever hangs on the lease of a session.
    EndSession {
        /// Its lease.
        lease: LeaseId,
        /// Whether it was ended, or expired.
        cause: Cause,
    },
    /// End every tenure.
    Force,
    /// Nothing but the time.
    Tick,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The request holds the lock.
    Granted,
    /// The request stands in the queue.
    Queued,
    /// Somebody else has the lock, and the request is not in the queue.
    Held,
    /// This one of several locks is somebody else's.
    HeldAt(LockKey),
    /// The request holds the lock already, since an earlier command.
    Known,
    /// The request has ended and gets nothing any more.
    Ended,
    /// There is no such session.
    SessionGone,
    /// The request would wait for itself: these wait for each other, each for this lock.
    Deadlock(Vec<(LockKey, Holder)>),
    /// The lease lives on, or the request stays in the queue, for so long.
    Renewed(Duration),
    /// That lease does not hold the lock, or that request does not wait for it.
    Gone,
    /// What was to be ended was there, and is over now.
    Released,
    /// What was to be ended was over already.
    Over,
    /// It is done.
    Done,
}

/// What happened in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request stands in the queue.
    Queued(Arc<Wish>),
    /// A request got the lock.
    Granted(Grant),
    /// A tenure is over.
    Ended(Grant, Cause),
    /// A request waits no longer, and did not get the lock.
    Left(Arc<Wish>, Cause),
    /// A request was ended that had not come yet.
    Barred(RequestId),
    /// An ended request is remembered no longer.
    Forgotten(RequestId),
    /// Nobody gets the lock for so long.
    Resting(Duration),
    /// The delay is over.
    Rested,
    /// The note is another.
    Noted(Option<Note>),
}

/// Why a tenure or a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Whoever asked gave it back.
    Released,
    /// Its lease, or its session, ran out.
    Expired,
    /// Its session was ended.
    SessionEnded,
    /// It was taken by force.
    Forced,
    /// It had waited long enough.
    WaitOver,
    /// It would have waited for itself.
    Deadlock,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer to the command.
    pub answer: Answer,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Moves a lock by one command. Time passes first: overdue leases, waits and delays are over, and
/// who is next has the lock, before the command is looked at.
pub fn step(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let mut turn = Turn::begin(lock, now);
    let answer = match command {
        Command::Acquire { wish, wait } => turn.acquire(wish, wait),
        Command::KeepAlive(lease) => turn.keep_alive(lease),
        Command::Stay { request, wait } => turn.stay(&request, wait),
        Command::Release { claim, note } => turn.release(claim, note),
        Command::Leave { request, cause } => turn.leave(&request, cause),
        Command::Withdraw { request, lease } => turn.withdraw(request, lease),
        Command::EndSession { lease, cause } => turn.end_session(lease, cause),
        Command::Force => turn.force(),
        Command::Tick => Answer::Done,
    };
    turn.end(answer)
}

impl Lock {
    /// A free lock whose next token is larger than `last_token`.
    pub fn after(last_token: u64) -> Self {
        Self {
            last_token,
            ..Self::default()
        }
    }

    /// Whether there is nothing to remember but the last token.
    pub fn is_idle(&self) -> bool {
        !self.is_busy()
            && self.ended.is_empty()
            && self.rests_until.is_none()
            && self.note.is_none()
    }

    /// Whether somebody holds it or waits for it.
    pub fn is_busy(&self) -> bool {
        !self.grants.is_empty() || !self.queue.is_empty()
    }

    /// When time alone will change something.
    pub fn next_change(&self) -> Option<Moment> {
        let leases = self.grants.iter().filter_map(|grant| grant.until);
        let waits = self.queue.iter().map(|waiter| waiter.until);
        let rest = self.rests_until.into_iter();
        let ended = self.ended.next_change().into_iter();
        leases.chain(waits).chain(rest).chain(ended).min()
    }

    /// The grant of `request`, if it holds the lock.
    pub fn grant_of(&self, request: &RequestId) -> Option<&Grant> {
        let mut grants = self.grants.iter();
        grants.find(|grant| grant.wish.request_id == *request)
    }

    /// The grant that is claimed, if it is current.
    pub fn claimed(&self, claim: &Claim) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.is_claimed(claim))
    }

    /// Where `request` stands in the queue.
    pub fn place_of(&self, request: &RequestId) -> Option<usize> {
        let mut waiting = self.queue.iter();
        waiting.position(|waiter| waiter.wish.request_id == *request)
    }

    /// What a wish comes to that does not wait.
    pub fn answer_to(&self, wish: &Wish) -> Answer {
        if self.ended.contains(&wish.request_id) {
            Answer::Ended
        } else if self.grant_of(&wish.request_id).is_some() {
            Answer::Known
        } else if self.place_of(&wish.request_id).is_some() {
            Answer::Queued
        } else if self.queue.is_empty() && self.has_room_for(wish.mode) {
            Answer::Granted
        } else {
            Answer::Held
        }
    }

    /// Whether `mode` fits beside those who hold. The queue is not looked at.
    pub fn has_room_for(&self, mode: Mode) -> bool {
        if self.rests_until.is_some() {
            return false;
        }
        let mut held = self.grants.iter().map(|grant| grant.wish.mode);
        match mode {
            Mode::Exclusive => self.grants.is_empty(),
            Mode::Shared => held.all(|held| held == Mode::Shared),
            Mode::Permit { limit, weight } => held
                .try_fold((limit, u64::from(weight.get())), |(least, sum), held| {
                    let Mode::Permit { limit, weight } = held else {
                        return None;
                    };
                    Some((least.min(limit), sum + u64::from(weight.get())))
                })
                .is_some_and(|(least, sum)| sum <= u64::from(least.get())),
        }
    }
}

#[cfg(test)]
mod tests;
