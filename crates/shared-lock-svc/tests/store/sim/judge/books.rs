//! What the judge knows of one lock.

use std::{collections::HashSet, time::Duration};

use shared_lock_svc::{
    lease::{Claim, FencingToken, LeaseId, LockKey, Mode, Note, RequestId},
    state::{Grant, Lock, Moment},
};

/// How long after its due time something may still be as it was.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Book {
    pub(super) holders: Vec<Holding>,
    pub(super) queue: Vec<Waiting>,
    pub(super) rests_until: Option<Moment>,
    /// Whether it rests because of a tenure that somebody was told of: what nobody heard of may be
    /// forgotten in a crash.
    pub(super) rests_for_told: bool,
    /// What holders left, the last one last, from the last that was acknowledged on.
    notes: Vec<(u64, Option<Note>)>,
    pub(super) promises: Vec<Promise>,
    /// Requests that have ended.
    pub(super) over: HashSet<RequestId>,
    pub(super) highest: Option<FencingToken>,
    pub(super) highest_told: Option<FencingToken>,
    pub(super) forced_up_to: Option<FencingToken>,
}

/// A tenure as the server has it.
pub(super) struct Holding {
    pub(super) request: RequestId,
    lease: LeaseId,
    pub(super) session: Option<LeaseId>,
    pub(super) token: FencingToken,
    pub(super) mode: Mode,
    delay: Duration,
    ttl: Duration,
    /// When its own lease runs out.
    due: Option<Moment>,
}

/// A tenure as a client relies on it.
pub(super) struct Promise {
    pub(super) request: RequestId,
    pub(super) lease: LeaseId,
    pub(super) session: Option<LeaseId>,
    pub(super) token: FencingToken,
    pub(super) mode: Mode,
    pub(super) until: Moment,
}

pub(super) struct Waiting {
    pub(super) request: RequestId,
    pub(super) session: Option<LeaseId>,
    pub(super) mode: Mode,
    pub(super) until: Moment,
}

impl Holding {
    pub(super) fn new(grant: &Grant, now: Moment) -> Self {
        let wish = &grant.wish;
        Self {
            request: wish.request_id.clone(),
            lease: wish.lease_id,
            session: wish.session(),
            token: grant.token,
            mode: wish.mode,
            delay: wish.lock_delay,
            ttl: wish.ttl,
            due: (!wish.in_session).then_some(now + wish.ttl),
        }
    }

    pub(super) fn is_claimed(&self, claim: &Claim) -> bool {
        claims(claim, &self.request, self.lease, self.token)
    }

    /// The delay that is due after its expiry.
    pub(super) fn delay(&self) -> Option<Duration> {
        let counts = self.mode == Mode::Exclusive && !self.delay.is_zero();
        counts.then_some(self.delay)
    }

    /// Whether its lease, or its session, has run out.
    pub(super) fn is_due(&self, session: Option<Moment>, now: Moment) -> bool {
        self.due.or(session).is_none_or(|due| due <= now)
    }
}

impl Promise {
    pub(super) fn is_claimed(&self, claim: &Claim) -> bool {
        claims(claim, &self.request, self.lease, self.token)
    }
}

impl Book {
    pub(super) fn waits(&self, request: &RequestId) -> bool {
        self.queue.iter().any(|waiting| waiting.request == *request)
    }

    /// Whether somebody who comes now must get it.
    pub(super) fn is_free_for(&self, mode: Mode, now: Moment) -> bool {
        self.queue.is_empty() && self.has_room(mode, now)
    }

    /// Whether `mode` fits beside the holders.
    pub(super) fn has_room(&self, mode: Mode, now: Moment) -> bool {
        let rests = self.rests_until.is_some_and(|until| until > now);
        !rests && fits(mode, self.holders.iter().map(|holding| holding.mode))
    }

    /// Whether `mode` fits beside what clients rely on.
    pub(super) fn keeps_promises(&self, mode: Mode, now: Moment) -> bool {
        let standing = self.promises.iter().filter(|promise| promise.until > now);
        fits(mode, standing.map(|promise| promise.mode))
    }

    pub(super) fn renew(&mut self, lease: LeaseId, now: Moment) -> bool {
        for promise in &mut self.promises {
            if promise.lease == lease
                && let Some(it) = self.holders.iter().find(|it| it.lease == lease)
            {
                promise.until = now + it.ttl;
            }
        }
        let held = self.holders.iter_mut().find(|it| it.lease == lease);
        held.map(|it| it.due = Some(now + it.ttl)).is_some()
    }

    pub(super) fn note(&self) -> Option<&Note> {
        self.notes.last().and_then(|(_, note)| note.as_ref())
    }

    pub(super) fn noted(&mut self, position: u64, note: Option<Note>) {
        if self.notes.is_empty() {
            self.notes.push((0, None));
        }
        self.notes.push((position, note));
    }

    /// Whatever was written up to there cannot be forgotten any more.
    pub(super) fn settle_notes(&mut self, position: u64) {
        let settled = self.notes.iter().rposition(|(at, _)| *at <= position);
        self.notes.drain(..settled.unwrap_or(0));
    }

    /// Says what is wrong with the lock as it came back.
    pub(super) fn restarted(
        &mut self,
        key: &LockKey,
        lock: Option<&Lock>,
        now: Moment,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let grants = lock.map(|lock| lock.grants.as_slice()).unwrap_or_default();
        for promise in self.promises.iter().filter(|promise| promise.until > now) {
            if !grants.iter().any(|grant| grant.token == promise.token) {
                let request = &promise.request;
                faults.push(format!(
                    "{request} was promised {key} and lost it in a restart"
                ));
            }
        }
        let note = lock.and_then(|lock| lock.note.clone());
        let never = self.notes.is_empty() && note.is_none();
        if !never && self.notes.iter().all(|(_, left)| *left != note) {
            faults.push(format!("the note of {key} was lost in a restart"));
        }
        self.notes = vec![(0, note)];
        let rests = lock.and_then(|lock| lock.rests_until);
        let delayed = self.rests_for_told && self.rests_until.is_some_and(|until| until > now);
        if delayed && rests < self.rests_until && grants.is_empty() {
            faults.push(format!("the delay of {key} was lost in a restart"));
        }
        self.rests_until = rests;
        self.holders = grants
            .iter()
            .map(|grant| Holding::new(grant, now))
            .collect();
        faults
    }

    /// What has been as it is for too long.
    pub(super) fn stuck(
        &self,
        key: &LockKey,
        session: impl Fn(LeaseId) -> Option<Moment>,
        now: Moment,
    ) -> Option<String> {
        let first = self.queue.first();
        if let Some(first) = first.filter(|first| self.has_room(first.mode, now)) {
            return Some(format!("{} waits for {key}, which is free", first.request));
        }
        let late = |due: Option<Moment>| due.is_none_or(|due| now.since(due) > SLACK);
        let overdue = |it: &&Holding| late(it.due.or(it.session.and_then(&session)));
        if let Some(it) = self.holders.iter().find(overdue) {
            return Some(format!("{} holds {key} beyond its lease", it.request));
        }
        let waited = |it: &&Waiting| now.since(it.until) > SLACK;
        let waits = self.queue.iter().find(waited);
        waits.map(|it| format!("{} waits for {key} beyond its time", it.request))
    }
}

/// Whether a mode fits beside others: a writer alone, readers with readers, permits with permits up
/// to the least limit of all.
fn fits(mode: Mode, others: impl Iterator<Item = Mode>) -> bool {
    let all: Vec<_> = others.chain([mode]).collect();
    let readers = all.iter().all(|mode| *mode == Mode::Shared);
    let (mut least, mut sum) = (u32::MAX, 0);
    let mut permits = true;
    for mode in &all {
        match mode {
            Mode::Permit { limit, weight } => {
                least = least.min(limit.get());
                sum += weight.get();
            }
            _ => permits = false,
        }
    }
    all.len() == 1 && !permits || readers || permits && sum <= least
}

fn claims(claim: &Claim, request: &RequestId, lease: LeaseId, token: FencingToken) -> bool {
    match claim {
        Claim::Tenure {
            lease_id,
            fencing_token,
        } => *lease_id == lease && *fencing_token == token,
        Claim::Request(claimed) => claimed == request,
    }
}
