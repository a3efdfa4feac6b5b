//! The lock as a pure machine: `step(lock, command, now)` gives the lock as it is afterwards and
//! what came of it. It does no I/O, reads no clock and draws no random number; whoever drives it
//! brings the time and fresh lease ids, so the same commands always end in the same state.
//!
//! What holds after every step:
//!
//! - at most one grant at a time, and each with a larger token than all before it;
//! - a free lock has no queue: the head gets the lock in the step that frees it;
//! - one request is one tenure: a request that has ended, however, gets nothing any more for
//!   [`TOMBSTONE_LIFE`].

mod ended;
mod table;

use std::{collections::VecDeque, num::NonZeroU64, ops::Add, time::Duration};

pub use self::{
    ended::Ended,
    table::{Change, Saved, Step, Table},
};
use crate::lease::{Claim, FencingToken, Holder, LeaseId, Metadata, RequestId};

/// How long a request that has ended is remembered: longer than any of its messages may be late.
pub const TOMBSTONE_LIFE: Duration = Duration::from_secs(60);

/// Requests that may wait for one lock; the next one is told that the lock is held.
pub const MAX_WAITERS: usize = 1000;

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
    /// Who holds it now.
    pub grant: Option<Grant>,
    /// Who waits, the next one first.
    pub queue: VecDeque<Waiter>,
    /// Requests that have ended.
    pub ended: Ended,
}

/// What a request brings with it: all that a grant needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Names the request.
    pub request_id: RequestId,
    /// Who asks.
    pub holder: Holder,
    /// What the holder says about itself.
    pub metadata: Metadata,
    /// The lease of the tenure, should there be one: an id that nobody has used.
    pub lease_id: LeaseId,
    /// The life of that lease.
    pub ttl: Duration,
}

/// A lock held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose wish it was.
    pub wish: Wish,
    /// The token of this tenure.
    pub token: FencingToken,
    /// When it began.
    pub since: Moment,
    /// When it ends, unless the lease is kept alive.
    pub until: Moment,
}

/// A request in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// What it wants.
    pub wish: Wish,
    /// When it came.
    pub since: Moment,
    /// When it stops waiting.
    pub until: Moment,
}

/// What a lock may be asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Take the lock, or stand in its queue for `wait`.
    Acquire {
        /// What is wanted.
        wish: Wish,
        /// How long to wait; zero answers at once.
        wait: Duration,
    },
    /// Restart the life of the lease that holds the lock.
    KeepAlive(LeaseId),
    /// End a tenure, or a request.
    Release(Claim),
    /// The wait of a request is over: leave the queue, unless the lock came meanwhile.
    GiveUp(RequestId),
    /// Nothing but the time.
    Tick,
}

/// The answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The request holds the lock: [`Lock::grant`] is its tenure.
    Granted,
    /// The request stands in the queue.
    Queued,
    /// Somebody else has the lock, and the request is not in the queue.
    Held,
    /// The request holds the lock already, since an earlier command.
    Known,
    /// The request has ended and gets nothing any more.
    Ended,
    /// The lease lives on.
    Renewed,
    /// That lease does not hold the lock.
    Gone,
    /// What was to be ended was there, and is over now.
    Released,
    /// What was to be ended was over already.
    Over,
    /// The time has passed.
    Ticked,
}

/// What happened to requests in a step, their own doing or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request got the lock.
    Granted(RequestId),
    /// A request has ended.
    Ended(RequestId, Cause),
    /// An ended request is remembered no longer.
    Forgotten(RequestId),
}

/// Why a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It held the lock and was released.
    Released,
    /// It held the lock and its lease ran out.
    Expired,
    /// It stood in the queue and left it, or had not even come yet.
    Left,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer to the command.
    pub answer: Answer,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Moves a lock by one command. Time passes first: an overdue lease has expired, and the head of
/// the queue has the lock, before the command is looked at.
pub fn step(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let mut events = Vec::new();
    lock.pass_time(now, &mut events);
    let answer = match command {
        Command::Acquire { wish, wait } => lock.acquire(wish, wait, now, &mut events),
        Command::KeepAlive(lease) => lock.keep_alive(lease, now),
        Command::Release(Claim::Tenure {
            lease_id,
            fencing_token,
        }) => lock.release(lease_id, fencing_token, now, &mut events),
        Command::Release(Claim::Request(request)) => lock.end_request(request, now, &mut events),
        Command::GiveUp(request) => lock.give_up(request, now, &mut events),
        Command::Tick => Answer::Ticked,
    };
    (lock, Outcome { answer, events })
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
        self.grant.is_none() && self.queue.is_empty() && self.ended.is_empty()
    }

    /// When time alone will change something.
    pub fn next_change(&self) -> Option<Moment> {
        let expiry = self.grant.as_ref().map(|grant| grant.until);
        expiry.into_iter().chain(self.ended.next_change()).min()
    }

    /// The grant of `request`, if it holds the lock.
    pub fn grant_of(&self, request: &RequestId) -> Option<&Grant> {
        self.grant
            .as_ref()
            .filter(|grant| grant.wish.request_id == *request)
    }

    /// Whether `request` stands in the queue.
    pub fn is_waiting(&self, request: &RequestId) -> bool {
        self.place_of(request).is_some()
    }

    fn pass_time(&mut self, now: Moment, events: &mut Vec<Event>) {
        events.extend(self.ended.forget(now).map(Event::Forgotten));
        if self.grant.as_ref().is_some_and(|grant| grant.until <= now) {
            self.end_grant(Cause::Expired, now, events);
        }
    }

    fn acquire(
        &mut self,
        wish: Wish,
        wait: Duration,
        now: Moment,
        events: &mut Vec<Event>,
    ) -> Answer {
        if self.ended.contains(&wish.request_id) {
            return Answer::Ended;
        }
        if self.grant_of(&wish.request_id).is_some() {
            return Answer::Known;
        }
        if self.place_of(&wish.request_id).is_some() {
            return Answer::Queued;
        }
        if self.grant.is_none() {
            self.grant_to(wish, now, events);
            return Answer::Granted;
        }
        if wait.is_zero() || self.queue.len() >= MAX_WAITERS {
            return Answer::Held;
        }
        self.queue.push_back(Waiter {
            wish,
            since: now,
            until: now + wait,
        });
        Answer::Queued
    }

    fn keep_alive(&mut self, lease: LeaseId, now: Moment) -> Answer {
        match &mut self.grant {
            Some(grant) if grant.wish.lease_id == lease => {
                grant.until = now + grant.wish.ttl;
                Answer::Renewed
            }
            _ => Answer::Gone,
        }
    }

    /// Lease and token both: a late release must not end a tenure that came after it.
    fn release(
        &mut self,
        lease: LeaseId,
        token: FencingToken,
        now: Moment,
        events: &mut Vec<Event>,
    ) -> Answer {
        match &self.grant {
            Some(grant) if grant.wish.lease_id == lease && grant.token == token => {
                self.end_grant(Cause::Released, now, events);
                Answer::Released
            }
            _ => Answer::Over,
        }
    }

    /// Whatever the request has, it loses; and what of it comes late finds its tombstone.
    fn end_request(&mut self, request: RequestId, now: Moment, events: &mut Vec<Event>) -> Answer {
        if self.grant_of(&request).is_some() {
            self.end_grant(Cause::Released, now, events);
            return Answer::Released;
        }
        if self.ended.contains(&request) {
            return Answer::Over;
        }
        let answer = match self.place_of(&request) {
            Some(place) => {
                self.queue.remove(place);
                Answer::Released
            }
            None => Answer::Over,
        };
        self.bury(request, Cause::Left, now, events);
        answer
    }

    fn give_up(&mut self, request: RequestId, now: Moment, events: &mut Vec<Event>) -> Answer {
        if self.grant_of(&request).is_some() {
            return Answer::Granted;
        }
        let Some(place) = self.place_of(&request) else {
            return Answer::Ended;
        };
        self.queue.remove(place);
        self.bury(request, Cause::Left, now, events);
        Answer::Held
    }

    fn place_of(&self, request: &RequestId) -> Option<usize> {
        self.queue
            .iter()
            .position(|waiter| waiter.wish.request_id == *request)
    }

    fn end_grant(&mut self, cause: Cause, now: Moment, events: &mut Vec<Event>) {
        if let Some(grant) = self.grant.take() {
            self.bury(grant.wish.request_id, cause, now, events);
        }
        while let Some(waiter) = self.queue.pop_front() {
            if now < waiter.until {
                self.grant_to(waiter.wish, now, events);
                return;
            }
            self.bury(waiter.wish.request_id, Cause::Left, now, events);
        }
    }

    fn grant_to(&mut self, wish: Wish, now: Moment, events: &mut Vec<Event>) {
        let token = FencingToken(NonZeroU64::MIN.saturating_add(self.last_token));
        self.last_token = token.0.get();
        events.push(Event::Granted(wish.request_id.clone()));
        let until = now + wish.ttl;
        self.grant = Some(Grant {
            wish,
            token,
            since: now,
            until,
        });
    }

    fn bury(&mut self, request: RequestId, cause: Cause, now: Moment, events: &mut Vec<Event>) {
        self.ended.remember(request.clone(), now + TOMBSTONE_LIFE);
        events.push(Event::Ended(request, cause));
    }
}

#[cfg(test)]
mod tests;
