//! What a client does with what it has.

use std::time::Duration;

use shared_lock_svc::{
    lease::{Claim, FencingToken, LeaseId, LockKey},
    state::Moment,
};

use super::{Client, Want};
use crate::sim::{
    messages::{Ask, Reply},
    rng::Rng,
};

/// A lease that is kept alive.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: LeaseId,
    ttl: Duration,
    pub(super) valid_until: Moment,
    /// The keepalive that is under way, and when it was sent.
    keepalive: Option<(u64, Moment)>,
    kept_at: Moment,
}

#[derive(Debug)]
pub(super) struct Tenure {
    pub(super) key: LockKey,
    pub(super) lease: LeaseId,
    pub(super) token: FencingToken,
    /// Its lease, unless it hangs on the session.
    pub(super) own: Option<Kept>,
    pub(super) writes: bool,
    /// A read or a write of the resource is under way: one after the other.
    pub(super) updating: bool,
    pub(super) done_at: Moment,
}

impl Kept {
    pub(super) fn new(id: LeaseId, ttl: Duration, told: Moment, now: Moment) -> Self {
        Self {
            id,
            ttl,
            valid_until: told + safe(ttl),
            keepalive: None,
            kept_at: now,
        }
    }

    fn is_due(&self, now: Moment) -> bool {
        let third = self.ttl / 3;
        let unanswered = self
            .keepalive
            .is_none_or(|(_, sent)| now.since(sent) > third);
        unanswered && now.since(self.kept_at) > third
    }

    /// Whether it was this one's keepalive; false also in what it says if the lease is gone.
    fn answered(&mut self, call: u64, reply: &Reply) -> Option<bool> {
        let (_, sent) = self.keepalive.take_if(|(asked, _)| *asked == call)?;
        if let Reply::Renewed(ttl) = reply {
            self.kept_at = sent;
            self.valid_until = sent + safe(*ttl);
            return Some(true);
        }
        Some(false)
    }
}

impl Tenure {
    /// Tokens tell tenures of one lock apart, and no others.
    pub(super) fn is(&self, key: &LockKey, token: FencingToken) -> bool {
        self.key == *key && self.token == token
    }

    fn claim(&self) -> Claim {
        Claim::Tenure {
            lease_id: self.lease,
            fencing_token: self.token,
        }
    }
}

impl Client {
    pub(super) fn tend_session(&mut self, rng: &mut Rng, now: Moment) {
        let Some(session) = &self.session else {
            return;
        };
        let id = session.id;
        if now >= session.valid_until {
            return self.lose_session();
        }
        let is_idle = self.tenures.is_empty() && self.asking.is_none();
        if rng.chance(if self.retired { 50 } else { 4 }) && is_idle || rng.chance(1) {
            // Whatever hangs on it goes with it.
            self.lose_session();
            return self.chore(Ask::EndSession(id), now);
        }
        if session.is_due(now) {
            let call = self.send(Ask::KeepAlive(id));
            if let Some(session) = &mut self.session {
                session.keepalive = Some((call, now));
            }
        }
    }

    pub(super) fn lose_session(&mut self) {
        self.session = None;
        self.tenures.retain(|tenure| tenure.own.is_some());
    }

    pub(super) fn tend_tenures(&mut self, rng: &mut Rng, now: Moment) {
        for mut tenure in std::mem::take(&mut self.tenures) {
            let lost = tenure
                .own
                .as_ref()
                .is_some_and(|own| now >= own.valid_until);
            if lost {
                // Some say so all the same, and late.
                if rng.chance(50) {
                    self.release(tenure.key.clone(), tenure.claim(), rng, now);
                }
                continue;
            }
            if now >= tenure.done_at {
                self.release(tenure.key.clone(), tenure.claim(), rng, now);
                continue;
            }
            if let Some(own) = tenure.own.as_mut().filter(|own| own.is_due(now)) {
                own.keepalive = Some((self.send(Ask::KeepAlive(own.id)), now));
            }
            if tenure.writes && !std::mem::replace(&mut tenure.updating, true) {
                self.wants.push(Want::Read {
                    key: tenure.key.clone(),
                    token: tenure.token,
                });
            }
            self.tenures.push(tenure);
        }
    }

    pub(super) fn kept_alive(&mut self, call: u64, reply: &Reply) {
        let session = self.session.as_mut();
        if session.and_then(|session| session.answered(call, reply)) == Some(false) {
            self.lose_session();
        }
        self.tenures.retain_mut(|tenure| {
            let own = tenure.own.as_mut();
            own.and_then(|own| own.answered(call, reply)) != Some(false)
        });
    }
}

/// What a client may rely on of a life that was told to it.
fn safe(ttl: Duration) -> Duration {
    ttl.saturating_sub((ttl / 20).max(Duration::from_millis(200)))
}
