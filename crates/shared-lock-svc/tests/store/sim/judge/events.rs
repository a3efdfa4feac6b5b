//! Whether what happened was allowed to happen.

use shared_lock_svc::{
    lease::{Claim, LockKey},
    state::{Cause, Event, Grant, Moment, Wish},
};

use super::{
    Judge,
    books::{Holding, Waiting},
};
use crate::sim::messages::Ask;

impl Judge {
    pub(super) fn happened(
        &mut self,
        ask: &Ask,
        key: &LockKey,
        event: &Event,
        position: u64,
        now: Moment,
    ) {
        match event {
            Event::Queued(wish) => self.queued(ask, key, wish, now),
            Event::Granted(grant) => self.granted(key, grant, now),
            Event::Ended(grant, cause) => self.tenure_over(ask, key, grant, *cause, now),
            Event::Left(wish, cause) => self.wait_over(ask, key, wish, *cause, now),
            Event::Barred(request) => {
                self.book(key).over.insert(request.clone());
            }
            Event::Rested => {
                let book = self.book(key);
                if book.rests_until.is_some_and(|until| until > now) {
                    self.fault(format!("{key} has not rested long enough"));
                }
            }
            Event::Resting(_) | Event::Forgotten(_) | Event::Noted(_) => {}
        }
        if let (
            Event::Ended(_, Cause::Released),
            Ask::Release {
                note: Some(note), ..
            },
        ) = (event, ask)
        {
            let note = Some(note.clone()).filter(|note| !note.as_str().is_empty());
            self.book(key).noted(position, note);
        }
    }

    fn queued(&mut self, ask: &Ask, key: &LockKey, wish: &Wish, now: Moment) {
        let Ask::Acquire { wait, .. } = ask else {
            return self.fault(format!(
                "{} was queued, and nobody asked for it",
                wish.request_id
            ));
        };
        let book = self.book(key);
        let free = book.is_free_for(wish.mode, now);
        book.queue.push(Waiting {
            request: wish.request_id.clone(),
            session: wish.session(),
            mode: wish.mode,
            until: now + *wait,
        });
        if free {
            self.fault(format!(
                "{} must wait for {key}, which is free",
                wish.request_id
            ));
        }
    }

    fn granted(&mut self, key: &LockKey, grant: &Grant, now: Moment) {
        let (request, mode) = (&grant.wish.request_id, grant.wish.mode);
        let acknowledged = self.ended.contains(&(key.clone(), request.clone()));
        let session = grant.wish.session();
        let homeless = session.is_some_and(|id| !self.sessions.contains_key(&id));
        let book = self.book(key);
        let mut faults = Vec::new();
        if !book.has_room(mode, now) {
            faults.push(format!(
                "{request} was granted {key} beside those who hold it"
            ));
        }
        if !book.keeps_promises(mode, now) {
            faults.push(format!(
                "{request} was granted {key}, which was promised to others"
            ));
        }
        if book.highest >= Some(grant.token) {
            faults.push(format!(
                "{request} got token {} of {key} again",
                grant.token
            ));
        }
        if let Some(first) = book.queue.first().filter(|first| first.request != *request) {
            faults.push(format!("{request} was served before {}", first.request));
        }
        if acknowledged || book.over.contains(request) {
            faults.push(format!("{request} was granted {key} after it was ended"));
        }
        if homeless {
            faults.push(format!(
                "{request} was granted {key} on a session that is gone"
            ));
        }
        book.highest = book.highest.max(Some(grant.token));
        book.queue.retain(|waiting| waiting.request != *request);
        book.holders.push(Holding::new(grant, now));
        faults.into_iter().for_each(|fault| self.fault(fault));
    }

    fn tenure_over(&mut self, ask: &Ask, key: &LockKey, grant: &Grant, cause: Cause, now: Moment) {
        let request = &grant.wish.request_id;
        let session = grant.wish.session();
        let session_due = session
            .and_then(|id| self.sessions.get(&id))
            .map(|it| it.due);
        let told = self.told.contains_key(&(key.clone(), request.clone()));
        let book = self.book(key);
        let place = book.holders.iter().position(|it| it.token == grant.token);
        let Some(holding) = place.map(|place| book.holders.remove(place)) else {
            return self.fault(format!(
                "{request} does not hold {key} any more, and never did"
            ));
        };
        book.over.insert(request.clone());
        let allowed = match cause {
            Cause::Released => matches!(
                ask,
                Ask::Release { key: of, claim, .. } if of == key && holding.is_claimed(claim)
            ),
            Cause::Expired => holding.is_due(session_due, now),
            Cause::SessionEnded => matches!(ask, Ask::EndSession(id) if session == Some(*id)),
            Cause::Forced => matches!(ask, Ask::Force(of) if of == key),
            Cause::WaitOver | Cause::Deadlock => false,
        };
        if cause == Cause::Expired
            && let Some(delay) = holding.delay()
        {
            book.rests_until = Some(now + delay);
            book.rests_for_told = told;
        }
        if !allowed {
            self.fault(format!(
                "{request} lost {key}: {cause:?}, and nothing called for it"
            ));
        }
    }

    fn wait_over(&mut self, ask: &Ask, key: &LockKey, wish: &Wish, cause: Cause, now: Moment) {
        let request = &wish.request_id;
        let session = wish.session();
        let lapsed =
            session.is_some_and(|id| self.sessions.get(&id).is_none_or(|it| it.due <= now));
        let ring = cause != Cause::Deadlock || self.ring_from(key, request).is_some();
        let book = self.book(key);
        let place = book.queue.iter().position(|it| it.request == *request);
        let Some(waiting) = place.map(|place| book.queue.remove(place)) else {
            return self.fault(format!(
                "{request} leaves the queue of {key}, and was not in it"
            ));
        };
        book.over.insert(request.clone());
        let allowed = match cause {
            Cause::Released => matches!(
                ask,
                Ask::Release { key: of, claim: Claim::Request(claimed), .. }
                    if of == key && claimed == request
            ),
            Cause::WaitOver => waiting.until <= now,
            Cause::Expired => lapsed,
            Cause::SessionEnded => matches!(ask, Ask::EndSession(id) if session == Some(*id)),
            Cause::Deadlock => ring,
            Cause::Forced => false,
        };
        if !allowed {
            self.fault(format!(
                "{request} waits for {key} no more: {cause:?}, without a reason"
            ));
        }
    }
}
