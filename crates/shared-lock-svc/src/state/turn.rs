//! One step of one lock, while it is being made.

use std::{collections::VecDeque, mem, num::NonZeroU64, sync::Arc, time::Duration};

use super::{Answer, Cause, Event, Grant, Lock, Moment, Outcome, TOMBSTONE_LIFE, Waiter, Wish};
use crate::lease::{Claim, FencingToken, LeaseId, Mode, Note, RequestId};

pub(super) struct Turn {
    lock: Lock,
    now: Moment,
    events: Vec<Event>,
}

impl Turn {
    /// Lets time pass.
    pub(super) fn begin(lock: Lock, now: Moment) -> Self {
        let events = Vec::new();
        let mut turn = Self { lock, now, events };
        let forgotten = turn.lock.ended.forget(now);
        turn.events.extend(forgotten.map(Event::Forgotten));
        turn.end_grants(Cause::Expired, |grant| {
            grant.until.is_some_and(|until| until <= now)
        });
        turn.send_away(Cause::WaitOver, |waiter| waiter.until <= now);
        if turn.lock.rests_until.is_some_and(|until| until <= now) {
            turn.lock.rests_until = None;
            turn.events.push(Event::Rested);
        }
        turn.serve();
        turn
    }

    /// Whoever fits now is served.
    pub(super) fn end(mut self, answer: Answer) -> (Lock, Outcome) {
        self.serve();
        let events = self.events;
        (self.lock, Outcome { answer, events })
    }

    pub(super) fn acquire(&mut self, wish: Arc<Wish>, wait: Duration) -> Answer {
        match self.lock.answer_to(&wish) {
            Answer::Granted => {
                self.grant(wish);
                Answer::Granted
            }
            Answer::Held if !wait.is_zero() && self.lock.queue.len() < self.lock.bounds.waiters => {
                self.events.push(Event::Queued(Arc::clone(&wish)));
                self.lock.queue.push_back(Waiter {
                    wish,
                    since: self.now,
                    until: self.now + wait,
                });
                Answer::Queued
            }
            answer => answer,
        }
    }

    pub(super) fn keep_alive(&mut self, lease: LeaseId) -> Answer {
        let mut grants = self.lock.grants.iter_mut();
        let own = grants.find(|grant| grant.wish.lease_id == lease && grant.until.is_some());
        match own {
            Some(grant) => {
                grant.until = Some(self.now + grant.wish.ttl);
                Answer::Renewed(grant.wish.ttl)
            }
            None => Answer::Gone,
        }
    }

    pub(super) fn stay(&mut self, request: &RequestId, wait: Duration) -> Answer {
        let mut queue = self.lock.queue.iter_mut();
        match queue.find(|waiter| waiter.wish.request_id == *request) {
            Some(waiter) => {
                waiter.until = self.now + wait;
                Answer::Renewed(wait)
            }
            None => Answer::Gone,
        }
    }

    pub(super) fn release(&mut self, claim: Claim, note: Option<Note>) -> Answer {
        if self.end_grants(Cause::Released, |grant| grant.is_claimed(&claim)) {
            if let Some(note) = note {
                self.lock.note = Some(note).filter(|note| !note.as_str().is_empty());
                self.events.push(Event::Noted(self.lock.note.clone()));
            }
            return Answer::Released;
        }
        match claim {
            Claim::Tenure { .. } => Answer::Over,
            Claim::Request(request) => self.end_request(request),
        }
    }

    /// The request does not hold.
    fn end_request(&mut self, request: RequestId) -> Answer {
        let waits = |waiter: &Waiter| waiter.wish.request_id == request;
        if self.send_away(Cause::Released, waits) {
            return Answer::Released;
        }
        self.bar(request)
    }

    pub(super) fn withdraw(&mut self, request: RequestId, lease: LeaseId) -> Answer {
        let meant = |wish: &Wish| wish.request_id == request && wish.lease_id == lease;
        let held = self.end_grants(Cause::Released, |grant| meant(&grant.wish));
        let waited = self.send_away(Cause::Released, |waiter| meant(&waiter.wish));
        if held || waited {
            return Answer::Released;
        }
        if self.lock.grant_of(&request).is_some() || self.lock.place_of(&request).is_some() {
            return Answer::Known;
        }
        self.bar(request)
    }

    /// The request has nothing. What of it comes late finds its tombstone.
    fn bar(&mut self, request: RequestId) -> Answer {
        if !self.lock.ended.contains(&request) {
            self.bury(request.clone());
            self.events.push(Event::Barred(request));
        }
        Answer::Over
    }

    pub(super) fn leave(&mut self, request: &RequestId, cause: Cause) -> Answer {
        if self.lock.grant_of(request).is_some() {
            Answer::Granted
        } else if self.send_away(cause, |waiter| waiter.wish.request_id == *request) {
            Answer::Held
        } else {
            Answer::Ended
        }
    }

    pub(super) fn end_session(&mut self, lease: LeaseId, cause: Cause) -> Answer {
        let held = self.end_grants(cause, |grant| grant.wish.session() == Some(lease));
        let waited = self.send_away(cause, |waiter| waiter.wish.session() == Some(lease));
        if held || waited {
            Answer::Released
        } else {
            Answer::Over
        }
    }

    pub(super) fn force(&mut self) -> Answer {
        if self.end_grants(Cause::Forced, |_| true) {
            Answer::Released
        } else {
            Answer::Over
        }
    }

    /// Grants the lock to whoever is first, as long as the first one fits: nobody is skipped.
    fn serve(&mut self) {
        while let Some(first) = self.lock.queue.front()
            && self.lock.has_room_for(first.wish.mode)
            && let Some(first) = self.lock.queue.pop_front()
        {
            self.grant(first.wish);
        }
    }

    fn grant(&mut self, wish: Arc<Wish>) {
        let token = NonZeroU64::MIN.saturating_add(self.lock.last_token);
        self.lock.last_token = token.get();
        let own = !wish.in_session;
        let grant = Grant {
            token: FencingToken(token),
            since: self.now,
            until: own.then_some(self.now + wish.ttl),
            wish,
        };
        self.events.push(Event::Granted(grant.clone()));
        self.lock.grants.push(grant);
    }

    /// Ends the tenures that are meant, and says whether there were any.
    fn end_grants(&mut self, cause: Cause, meant: impl Fn(&Grant) -> bool) -> bool {
        if !self.lock.grants.iter().any(&meant) {
            return false;
        }
        let (over, stay) = mem::take(&mut self.lock.grants)
            .into_iter()
            .partition(meant);
        self.lock.grants = stay;
        let over: Vec<Grant> = over;
        for grant in over {
            self.bury(grant.wish.request_id.clone());
            let delay = grant.wish.lock_delay;
            let rests = cause == Cause::Expired && grant.wish.mode == Mode::Exclusive;
            self.events.push(Event::Ended(grant, cause));
            if rests && !delay.is_zero() {
                self.lock.rests_until = Some(self.now + delay);
                self.events.push(Event::Resting(delay));
            }
        }
        true
    }

    /// Sends the waiters away that are meant, and says whether there were any.
    fn send_away(&mut self, cause: Cause, meant: impl Fn(&Waiter) -> bool) -> bool {
        if !self.lock.queue.iter().any(&meant) {
            return false;
        }
        let (left, stay) = mem::take(&mut self.lock.queue).into_iter().partition(meant);
        self.lock.queue = stay;
        let left: VecDeque<Waiter> = left;
        for waiter in left {
            self.bury(waiter.wish.request_id.clone());
            self.events.push(Event::Left(waiter.wish, cause));
        }
        true
    }

    fn bury(&mut self, request: RequestId) {
        let until = self.now + TOMBSTONE_LIFE;
        let bound = self.lock.bounds.ended;
        let forgotten = self.lock.ended.remember(request, until, bound);
        self.events.extend(forgotten.map(Event::Forgotten));
    }
}
