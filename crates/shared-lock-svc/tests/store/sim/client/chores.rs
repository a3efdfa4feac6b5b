//! What a client says until it is answered: that something is over.

use shared_lock_svc::{
    lease::{Claim, LockKey, Note, RequestId},
    state::Moment,
};

use super::{Asked, Client, PATIENCE, Want};
use crate::sim::{messages::Ask, rng::Rng};

pub(super) struct Chore {
    pub(super) call: u64,
    sent: Moment,
    ask: Ask,
}

impl Client {
    pub(super) fn repeat_chores(&mut self, now: Moment) {
        for mut chore in std::mem::take(&mut self.chores) {
            if now.since(chore.sent) > PATIENCE {
                chore.call = self.send(chore.ask.clone());
                chore.sent = now;
            }
            self.chores.push(chore);
        }
    }

    /// No answer came: the outcome is unknown, and the request must be over before it is asked again.
    /// Some forget to say so; then the broken connection says it.
    pub(super) fn give_up_asking(&mut self, rng: &mut Rng, now: Moment) {
        let late = |asking: &mut super::Asking| now.since(asking.sent) > asking.wait + PATIENCE;
        let Some(asking) = self.asking.take_if(late) else {
            return;
        };
        self.wants.push(Want::HangUp { call: asking.call });
        match asking.what {
            // It runs out by itself: nobody knows its name.
            Asked::Session => {}
            Asked::Locks { request, keys, .. } if !rng.chance(20) => self.end(&request, keys, now),
            Asked::Locks { .. } => {}
        }
    }

    /// Ends a request at each of its locks.
    pub(super) fn end(&mut self, request: &RequestId, keys: Vec<(LockKey, bool)>, now: Moment) {
        for (key, _) in keys {
            let claim = Claim::Request(request.clone());
            let note = None;
            self.chore(Ask::Release { key, claim, note }, now);
        }
    }

    pub(super) fn release(&mut self, key: LockKey, claim: Claim, rng: &mut Rng, now: Moment) {
        let words = match rng.between(0, 4) {
            0 => Some(format!("{} {}", self.id, self.calls)),
            1 => Some(String::new()),
            _ => None,
        };
        let note = words.and_then(|words| Note::try_from(words).ok());
        self.chore(Ask::Release { key, claim, note }, now);
    }

    pub(super) fn chore(&mut self, ask: Ask, now: Moment) {
        let call = self.send(ask.clone());
        self.chores.push(Chore {
            call,
            sent: now,
            ask,
        });
    }
}
