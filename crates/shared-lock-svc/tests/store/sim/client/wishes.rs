//! What a client asks for, as chance will have it.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use shared_lock_svc::{
    lease::{Holder, LeaseId, LockKey, Metadata, Mode, RequestId},
    state::{Moment, Several, Wish},
};

use super::{Asked, Asking, Client, MOST};
use crate::sim::{messages::Ask, rng::Rng};

/// A lease that the server is to find.
const UNKNOWN: LeaseId = LeaseId(0);

const LOCKS: [&str; 3] = ["busy", "calm", "third"];

impl Client {
    /// Asks for something.
    pub(super) fn wish(&mut self, rng: &mut Rng, now: Moment) {
        if rng.chance(1) {
            return self.chore(Ask::Force(key_of(rng)), now);
        }
        if self.session.is_none() && rng.chance(25) {
            return self.open_session(rng, now);
        }
        if self.tenures.len() >= MOST {
            return;
        }
        if rng.chance(15) {
            self.ask_for_several(rng, now);
        } else {
            self.ask_for_one(rng, now);
        }
    }

    fn open_session(&mut self, rng: &mut Rng, now: Moment) {
        let (id, ttl) = (None, life(rng));
        let holder = self.holder();
        let call = self.send(Ask::OpenSession { id, holder, ttl });
        self.asking = Some(Asking {
            call,
            sent: now,
            wait: Duration::ZERO,
            what: Asked::Session,
        });
    }

    fn ask_for_one(&mut self, rng: &mut Rng, now: Moment) {
        let session = self
            .session
            .as_ref()
            .filter(|_| rng.chance(80))
            .map(|it| it.id);
        let (lease, ttl) = (session.unwrap_or(UNKNOWN), life(rng));
        let request = self.request();
        let mode = mode_of(rng);
        let mut wish = self.wish_for(&request, mode, lease, ttl);
        wish.in_session = session.is_some();
        if rng.chance(20) {
            wish.lock_delay = rng.millis(1000, 4000);
        }
        let wait = patience(rng);
        let key = key_of(rng);
        let keys = vec![(key.clone(), mode == Mode::Exclusive)];
        let wish = Arc::new(wish);
        let call = self.send(Ask::Acquire { key, wish, wait });
        self.asking = Some(Asking {
            call,
            sent: now,
            wait,
            what: Asked::Locks {
                request,
                keys,
                in_session: session.is_some(),
            },
        });
    }

    fn ask_for_several(&mut self, rng: &mut Rng, now: Moment) {
        let ttl = life(rng);
        let opens = self.session.is_none().then(|| (self.holder(), ttl));
        let session = self.session.as_ref().map(|session| session.id);
        let session = session.unwrap_or(UNKNOWN);
        let request = self.request();
        let spared = rng.between(0, 6) as usize;
        let wanted = LOCKS.iter().enumerate().filter(|(at, _)| *at != spared);
        let mut keys = Vec::new();
        let mut wishes = Vec::new();
        for (_, name) in wanted {
            let mode = mode_of(rng);
            let mut wish = self.wish_for(&request, mode, session, ttl);
            wish.in_session = true;
            keys.push((key(name), mode == Mode::Exclusive));
            wishes.push((key(name), Arc::new(wish)));
        }
        let wait = patience(rng);
        let several = Several {
            wishes,
            session,
            opens,
        };
        let call = self.send(Ask::AcquireAll { several, wait });
        self.asking = Some(Asking {
            call,
            sent: now,
            wait,
            what: Asked::Locks {
                request,
                keys,
                in_session: true,
            },
        });
    }

    fn wish_for(&self, request: &RequestId, mode: Mode, lease: LeaseId, ttl: Duration) -> Wish {
        Wish {
            request_id: request.clone(),
            holder: self.holder(),
            metadata: Metadata::new(),
            mode,
            lease_id: lease,
            ttl,
            in_session: false,
            lock_delay: Duration::ZERO,
            trace_id: None,
        }
    }

    fn request(&self) -> RequestId {
        let name = format!("{}-{}", self.id, self.calls);
        RequestId::try_from(name).unwrap_or_else(|_| unreachable!("short and plain"))
    }

    fn holder(&self) -> Holder {
        Holder::try_from(self.id.to_string()).unwrap_or_else(|_| unreachable!("short and plain"))
    }
}

fn mode_of(rng: &mut Rng) -> Mode {
    match rng.between(0, 100) {
        0..45 => Mode::Exclusive,
        45..75 => Mode::Shared,
        _ => {
            let limit = rng.between(1, 5) as u32;
            let weight = rng.between(1, u64::from(limit) + 1) as u32;
            let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
            Mode::Permit {
                limit: number(limit),
                weight: number(weight),
            }
        }
    }
}

fn patience(rng: &mut Rng) -> Duration {
    if rng.chance(25) {
        Duration::ZERO
    } else {
        rng.millis(500, 8000)
    }
}

fn key_of(rng: &mut Rng) -> LockKey {
    match rng.between(0, 100) {
        0..60 => key(LOCKS[0]),
        60..80 => key(LOCKS[1]),
        _ => key(LOCKS[2]),
    }
}

fn key(name: &str) -> LockKey {
    LockKey::parse(name).unwrap_or_else(|_| unreachable!("a plain name"))
}

fn life(rng: &mut Rng) -> Duration {
    Duration::from_secs(rng.between(2, 6))
}
