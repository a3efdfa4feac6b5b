//! Several locks or none, in one step.

use std::{sync::Arc, time::Duration};

use super::{Answer, Command, Moment, Moved, Table, Wish};
use crate::lease::{Holder, LeaseId, LockKey};

/// A wish for several locks.
#[derive(Debug, Clone)]
pub struct Several {
    /// Each of the locks, once, and how it is wanted: all by one request, on the lease of one session.
    pub wishes: Vec<(LockKey, Arc<Wish>)>,
    /// Their session.
    pub session: LeaseId,
    /// Whose session it is and how long it lives, if it is to begin with the grants.
    pub opens: Option<(Holder, Duration)>,
}

impl Table {
    /// Takes all of them, or says which one is somebody else's. It never queues.
    pub fn acquire_all(&mut self, several: &Several, now: Moment) -> Moved {
        let mut moved = self.tick(now);
        if let Some(refusal) = self.refusal(several) {
            return moved.answering(refusal);
        }
        if let Some((holder, ttl)) = several.opens.clone() {
            self.begin_session(several.session, holder, ttl, &mut moved, now);
        }
        for (key, wish) in &several.wishes {
            let acquire = Command::Acquire {
                wish: Arc::clone(wish),
                wait: Duration::ZERO,
            };
            self.move_lock(key, acquire, &mut moved, now);
        }
        moved.answering(Answer::Granted)
    }

    /// Why not all of them are to be had. What the request itself has done counts for more than what
    /// others have.
    fn refusal(&self, several: &Several) -> Option<Answer> {
        if several.opens.is_none() && self.session(several.session).is_none() {
            return Some(Answer::SessionGone);
        }
        let mut held = None;
        for (key, wish) in &several.wishes {
            let answer = match self.lock(key) {
                Some(lock) => lock.answer_to(wish),
                None => Answer::Granted,
            };
            match answer {
                Answer::Granted => {}
                Answer::Ended => return Some(Answer::Ended),
                Answer::Known | Answer::Queued => return Some(Answer::Known),
                _ => held = held.or_else(|| Some(Answer::HeldAt(key.clone()))),
            }
        }
        held
    }
}
