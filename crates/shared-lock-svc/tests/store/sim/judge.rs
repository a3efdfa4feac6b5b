//! What must hold, looked at after every step and every answer.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use shared_lock_svc::{
    lease::{Claim, FencingToken, LeaseId, LockKey, RequestId},
    state::{Answer, Cause, Command, Event, Lock, Moment, Outcome, Table},
};

/// How long after its due time a waiter may still be without a lock that is free.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Judge {
    locks: HashMap<LockKey, Seen>,
    /// The token that was told for a request: one at most.
    told: HashMap<RequestId, FencingToken>,
    /// Requests whose end was acknowledged.
    ended: HashSet<RequestId>,
    pub(crate) violation: Option<String>,
    pub(crate) grants_told: usize,
}

/// What the judge has seen of one lock.
#[derive(Default)]
struct Seen {
    /// What a client was promised last.
    promise: Option<Promise>,
    /// The lease that the machine should hold now, and when it is due to run out.
    running: Option<(RequestId, Moment)>,
    highest_told: Option<FencingToken>,
    queue: Vec<Waiting>,
    /// Requests that somebody asked to end.
    asked_to_end: HashSet<RequestId>,
}

struct Promise {
    request: RequestId,
    lease: LeaseId,
    token: FencingToken,
    until: Moment,
    given_back: bool,
}

struct Waiting {
    request: RequestId,
    until: Moment,
}

impl Seen {
    /// What a client still relies on.
    fn promised(&self, now: Moment) -> Option<&Promise> {
        self.promise
            .as_ref()
            .filter(|promise| promise.until > now && !promise.given_back)
    }
}

impl Judge {
    /// A command is about to be carried out.
    pub(crate) fn command(&mut self, key: &LockKey, command: &Command) {
        let seen = self.locks.entry(key.clone()).or_default();
        let ends_promise = |promise: &Promise| match command {
            Command::Release(Claim::Request(request)) => promise.request == *request,
            Command::Release(Claim::Tenure {
                lease_id,
                fencing_token,
            }) => promise.lease == *lease_id && promise.token == *fencing_token,
            _ => false,
        };
        if let Some(promise) = &mut seen.promise
            && ends_promise(promise)
        {
            promise.given_back = true;
            seen.asked_to_end.insert(promise.request.clone());
        }
        if let Command::Release(Claim::Request(request)) | Command::GiveUp(request) = command {
            seen.asked_to_end.insert(request.clone());
        }
    }

    /// It was carried out: this came of it, and so the lock is now.
    pub(crate) fn stepped(
        &mut self,
        key: &LockKey,
        command: &Command,
        outcome: &Outcome,
        lock: Option<&Lock>,
        now: Moment,
    ) {
        for event in &outcome.events {
            match event {
                Event::Granted(request) => self.granted(key, request, lock, now),
                Event::Ended(request, cause) => self.has_ended(key, request, *cause, now),
                Event::Forgotten(_) => {}
            }
        }
        match (command, outcome.answer) {
            (Command::Acquire { wish, wait }, Answer::Queued) => {
                let seen = self.seen(key);
                if !seen
                    .queue
                    .iter()
                    .any(|waiting| waiting.request == wish.request_id)
                {
                    seen.queue.push(Waiting {
                        request: wish.request_id.clone(),
                        until: now + *wait,
                    });
                }
            }
            (Command::KeepAlive(lease), Answer::Renewed) => self.renewed(key, *lease, lock, now),
            (Command::KeepAlive(lease), Answer::Gone) => self.gone(key, *lease, now),
            _ => {}
        }
        self.nobody_starves(key, lock, now);
    }

    /// A client is told that it has the lock.
    pub(crate) fn tells(
        &mut self,
        key: &LockKey,
        request: &RequestId,
        lease: LeaseId,
        token: FencingToken,
        until: Moment,
    ) {
        self.grants_told += 1;
        let seen = self.seen(key);
        if seen.highest_told >= Some(token) {
            let highest = seen.highest_told;
            return self.fault(format!("{request} is told token {token} after {highest:?}"));
        }
        seen.highest_told = Some(token);
        seen.promise = Some(Promise {
            request: request.clone(),
            lease,
            token,
            until,
            given_back: false,
        });
        if self.ended.contains(request) {
            return self.fault(format!("{request} got the lock after it was ended"));
        }
        if let Some(before) = self.told.insert(request.clone(), token)
            && before != token
        {
            self.fault(format!("{request} got tokens {before} and {token}"));
        }
    }

    /// A client is told that its request is over, or was.
    pub(crate) fn tells_end(&mut self, request: &RequestId) {
        self.ended.insert(request.clone());
    }

    /// What nobody was told may be forgotten: the ends of requests too.
    pub(crate) fn crashed(&mut self) {
        for seen in self.locks.values_mut() {
            seen.queue.clear();
            seen.asked_to_end.clear();
            seen.running = None;
        }
    }

    /// The server is back. What was promised must be there, for its full life again.
    pub(crate) fn restarted(&mut self, table: &Table, now: Moment) {
        let mut faults = Vec::new();
        for (key, seen) in &mut self.locks {
            let grant = table.lock(key).and_then(|lock| lock.grant.as_ref());
            seen.running = grant.map(|grant| (grant.wish.request_id.clone(), now + grant.wish.ttl));
            if let Some(promise) = seen.promised(now)
                && grant.is_none_or(|grant| grant.token != promise.token)
            {
                faults.push(format!(
                    "{} was promised {key} and lost it in a restart",
                    promise.request
                ));
            }
            if let Some(grant) = grant
                && self.ended.contains(&grant.wish.request_id)
            {
                faults.push(format!(
                    "{} holds again after it was ended",
                    grant.wish.request_id
                ));
            }
        }
        faults.into_iter().for_each(|fault| self.fault(fault));
    }

    pub(crate) fn fault(&mut self, fault: String) {
        self.violation.get_or_insert(fault);
    }

    fn seen(&mut self, key: &LockKey) -> &mut Seen {
        self.locks.entry(key.clone()).or_default()
    }

    fn granted(&mut self, key: &LockKey, request: &RequestId, lock: Option<&Lock>, now: Moment) {
        let acknowledged = self.ended.contains(request);
        let seen = self.seen(key);
        let grant = lock.and_then(|lock| lock.grant.as_ref());
        let grant = grant.filter(|grant| grant.wish.request_id == *request);
        let mut faults = Vec::new();
        if let Some(promise) = seen.promised(now) {
            faults.push(format!(
                "{request} was granted what {} still has",
                promise.request
            ));
        }
        if let Some(grant) = grant {
            if seen.highest_told >= Some(grant.token) {
                faults.push(format!("{request} got token {} again", grant.token));
            }
            seen.running = Some((request.clone(), now + grant.wish.ttl));
        }
        let first = seen.queue.iter().find(|waiting| waiting.until > now);
        if let Some(first) = first
            && first.request != *request
        {
            faults.push(format!("{request} was served before {}", first.request));
        }
        if acknowledged || seen.asked_to_end.contains(request) {
            faults.push(format!("{request} was granted after it was ended"));
        }
        seen.queue.retain(|waiting| waiting.request != *request);
        faults.into_iter().for_each(|fault| self.fault(fault));
    }

    fn has_ended(&mut self, key: &LockKey, request: &RequestId, cause: Cause, now: Moment) {
        let seen = self.seen(key);
        let place = seen
            .queue
            .iter()
            .position(|waiting| waiting.request == *request);
        let waiting = place.map(|place| seen.queue.remove(place));
        let asked = seen.asked_to_end.contains(request);
        let due = match &seen.running {
            Some((running, until)) if running == request => Some(*until),
            _ => None,
        };
        if due.is_some() {
            seen.running = None;
        }
        let early = match cause {
            Cause::Left => waiting.is_some_and(|waiting| !asked && waiting.until > now),
            Cause::Expired => due.is_some_and(|due| due > now),
            Cause::Released => !asked,
        };
        if early {
            self.fault(format!(
                "{request} was ended as {cause:?}, and nobody asked for it"
            ));
        }
    }

    fn renewed(&mut self, key: &LockKey, lease: LeaseId, lock: Option<&Lock>, now: Moment) {
        let Some(grant) = lock.and_then(|lock| lock.grant.as_ref()) else {
            return self.fault(format!("lease {lease} was renewed, and holds nothing"));
        };
        if grant.wish.lease_id != lease {
            return self.fault(format!(
                "lease {lease} was renewed, and is not the holder's"
            ));
        }
        let until = now + grant.wish.ttl;
        let seen = self.seen(key);
        if let Some((_, due)) = &mut seen.running {
            *due = until;
        }
        if let Some(promise) = seen
            .promise
            .as_mut()
            .filter(|promise| promise.lease == lease)
        {
            promise.until = until;
        }
    }

    fn gone(&mut self, key: &LockKey, lease: LeaseId, now: Moment) {
        let seen = self.seen(key);
        let promise = seen.promised(now);
        if promise.is_some_and(|promise| promise.lease == lease) {
            self.fault(format!("lease {lease} was promised longer"));
        }
    }

    fn nobody_starves(&mut self, key: &LockKey, lock: Option<&Lock>, now: Moment) {
        let seen = self.seen(key);
        let Some(first) = seen.queue.iter().find(|waiting| waiting.until > now) else {
            return;
        };
        let first = first.request.clone();
        let overdue = match &seen.running {
            Some((_, due)) => now.since(*due) > SLACK,
            None => false,
        };
        if lock.is_none_or(|lock| lock.grant.is_none()) {
            self.fault(format!("{first} waits for a lock that is free"));
        } else if overdue {
            self.fault(format!("{first} waits for a lease that has run out"));
        }
    }
}
