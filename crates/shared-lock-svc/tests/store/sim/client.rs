//! A client as it should be: it trusts no answer longer than it may, and ends what it asked for.

mod chores;
mod holding;
mod wishes;

use std::time::Duration;

use shared_lock_svc::{
    lease::{FencingToken, LockKey, RequestId},
    state::Moment,
};

use self::{
    chores::Chore,
    holding::{Kept, Tenure},
};
use super::{
    messages::{Ask, Reply},
    rng::Rng,
};

/// How long after the end of its wait an answer counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Locks that a client holds at once, more or less.
const MOST: usize = 3;

pub(crate) struct Client {
    id: usize,
    calls: u64,
    /// Of a paused process nothing is heard until then.
    pub(crate) asleep_until: Moment,
    /// Only the newest alarm rings.
    pub(crate) alarm: u64,
    pub(crate) retired: bool,
    pub(crate) wants: Vec<Want>,
    rests_until: Moment,
    asking: Option<Asking>,
    session: Option<Kept>,
    tenures: Vec<Tenure>,
    chores: Vec<Chore>,
}

/// What a client wants of the world.
pub(crate) enum Want {
    Send {
        call: u64,
        ask: Ask,
    },
    HangUp {
        call: u64,
    },
    Read {
        key: LockKey,
        token: FencingToken,
    },
    Write {
        key: LockKey,
        token: FencingToken,
        value: u64,
    },
    Wake(Duration),
}

/// A request whose answer is awaited.
struct Asking {
    call: u64,
    sent: Moment,
    wait: Duration,
    what: Asked,
}

enum Asked {
    Session,
    Locks {
        request: RequestId,
        /// Each with whether it is wanted to write.
        keys: Vec<(LockKey, bool)>,
        in_session: bool,
    },
}

impl Client {
    pub(crate) fn new(id: usize) -> Self {
        Self {
            id,
            calls: 0,
            asleep_until: Moment::default(),
            alarm: 0,
            retired: false,
            wants: Vec::new(),
            rests_until: Moment::default(),
            asking: None,
            session: None,
            tenures: Vec::new(),
            chores: Vec::new(),
        }
    }

    pub(crate) fn wake(&mut self, rng: &mut Rng, now: Moment) {
        self.repeat_chores(now);
        self.give_up_asking(rng, now);
        self.tend_session(rng, now);
        self.tend_tenures(rng, now);
        if self.is_busy() && rng.chance(1) {
            self.die();
        }
        if self.is_busy() && rng.chance(3) {
            self.asleep_until = now + rng.millis(1000, 10_000);
        }
        if self.asking.is_none() && !self.retired && now >= self.rests_until {
            self.wish(rng, now);
        }
        if self.is_busy() || !self.retired {
            self.wants.push(Want::Wake(rng.millis(50, 400)));
        }
    }

    pub(crate) fn hear(&mut self, call: u64, reply: &Reply, rng: &mut Rng, now: Moment) {
        if let Some(asking) = self.asking.take_if(|asking| asking.call == call) {
            self.rests_until = now + rng.millis(1, 1500);
            self.answered(asking, reply, rng, now);
        } else if let Some(place) = self.chores.iter().position(|chore| chore.call == call) {
            self.chores.remove(place);
        } else {
            self.kept_alive(call, reply);
        }
    }

    /// The resource has told its value: it is written back, whether or not the lock is still ours.
    /// To look first would help little: a process may be stopped between the look and the write.
    pub(crate) fn value_read(&mut self, key: &LockKey, token: FencingToken, value: u64) {
        if self.tenures.iter().any(|tenure| tenure.is(key, token)) {
            self.wants.push(Want::Write {
                key: key.clone(),
                token,
                value: value + 1,
            });
        }
    }

    /// The resource has taken a write, or refused it.
    pub(crate) fn written(&mut self, key: &LockKey, token: FencingToken) {
        for tenure in &mut self.tenures {
            if tenure.is(key, token) {
                tenure.updating = false;
            }
        }
    }

    fn answered(&mut self, asking: Asking, reply: &Reply, rng: &mut Rng, now: Moment) {
        match (asking.what, reply) {
            (Asked::Session, Reply::SessionOpened { id, ttl, elapsed }) => {
                self.session = Some(Kept::new(*id, *ttl, asking.sent + *elapsed, now));
            }
            (
                Asked::Locks {
                    keys, in_session, ..
                },
                Reply::Acquired {
                    tenures,
                    lease,
                    ttl,
                    elapsed,
                },
            ) => {
                let told = asking.sent + *elapsed;
                if in_session && self.session.is_none() {
                    self.session = Some(Kept::new(*lease, *ttl, told, now));
                }
                for ((key, token), (_, writes)) in tenures.iter().zip(keys) {
                    let own = (!in_session).then(|| Kept::new(*lease, *ttl, told, now));
                    self.tenures.push(Tenure {
                        key: key.clone(),
                        lease: *lease,
                        token: *token,
                        own,
                        writes,
                        updating: false,
                        done_at: now + rng.millis(50, 4000),
                    });
                }
            }
            (Asked::Locks { request, keys, .. }, Reply::Known) => self.end(&request, keys, now),
            (_, Reply::SessionGone) => self.lose_session(),
            _ => {}
        }
    }

    /// Nothing is heard of it any more, but for what it sent.
    fn die(&mut self) {
        if let Some(asking) = self.asking.take() {
            self.wants.push(Want::HangUp { call: asking.call });
        }
        self.session = None;
        self.tenures.clear();
        self.chores.clear();
    }

    fn is_busy(&self) -> bool {
        self.asking.is_some()
            || self.session.is_some()
            || !self.tenures.is_empty()
            || !self.chores.is_empty()
    }

    fn send(&mut self, ask: Ask) -> u64 {
        self.calls += 1;
        let call = self.calls;
        self.wants.push(Want::Send { call, ask });
        call
    }
}
