//! A client as it should be: it trusts no answer longer than it may, and ends what it asked for.

use std::time::Duration;

use shared_lock_svc::{
    lease::{Claim, FencingToken, Holder, LeaseId, LockKey, Metadata, RequestId},
    state::{Moment, Wish},
};

use super::{
    rng::Rng,
    server::{Ask, Reply},
};

/// How long after the end of its wait an acquire counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct Client {
    id: usize,
    stage: Stage,
    calls: u64,
    /// Of a paused process nothing is heard until then.
    pub(crate) asleep_until: Moment,
    /// Only the newest alarm rings.
    pub(crate) alarm: u64,
    pub(crate) retired: bool,
    pub(crate) wants: Vec<Want>,
}

/// What a client wants of the world.
pub(crate) enum Want {
    Send {
        key: LockKey,
        call: u64,
        ask: Ask,
    },
    HangUp {
        key: LockKey,
        request: RequestId,
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

#[derive(Debug)]
enum Stage {
    Idle,
    Asking {
        key: LockKey,
        request: RequestId,
        call: u64,
        sent: Moment,
    },
    /// The outcome of an acquire is unknown: the request must be over before another begins.
    Ending {
        key: LockKey,
        request: RequestId,
        call: u64,
    },
    Holding(Tenure),
    Releasing {
        key: LockKey,
        lease: LeaseId,
        token: FencingToken,
        call: u64,
    },
}

#[derive(Debug)]
struct Tenure {
    key: LockKey,
    lease: LeaseId,
    token: FencingToken,
    ttl: Duration,
    valid_until: Moment,
    /// A read or a write of the resource is under way: one after the other.
    updating: bool,
    /// The keepalive that is under way, and when it was sent.
    keepalive: Option<(u64, Moment)>,
    kept_at: Moment,
    done_at: Moment,
}

impl Client {
    pub(crate) fn new(id: usize) -> Self {
        Self {
            id,
            stage: Stage::Idle,
            calls: 0,
            asleep_until: Moment::default(),
            alarm: 0,
            retired: false,
            wants: Vec::new(),
        }
    }

    pub(crate) fn wake(&mut self, rng: &mut Rng, now: Moment) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle if self.retired => {}
            Stage::Idle => self.ask(rng, now),
            Stage::Asking {
                key, request, call, ..
            } => {
                let hang_up = Want::HangUp {
                    key: key.clone(),
                    request: request.clone(),
                    call,
                };
                self.wants.push(hang_up);
                if rng.chance(20) {
                    self.rest(rng);
                } else {
                    self.end(key, request);
                }
            }
            Stage::Ending { key, request, .. } => self.end(key, request),
            Stage::Holding(tenure) => self.hold(tenure, rng, now),
            Stage::Releasing {
                key, lease, token, ..
            } => self.release(key, lease, token),
        }
    }

    pub(crate) fn hear(&mut self, call: u64, reply: &Reply, rng: &mut Rng, now: Moment) {
        match (&mut self.stage, reply) {
            (
                Stage::Asking {
                    key,
                    call: asked,
                    sent,
                    ..
                },
                reply,
            ) if *asked == call => {
                let (key, sent) = (key.clone(), *sent);
                self.answered(key, sent, reply, rng, now);
            }
            (
                Stage::Ending { call: asked, .. } | Stage::Releasing { call: asked, .. },
                Reply::Released,
            ) if *asked == call => {
                self.rest(rng);
            }
            (Stage::Holding(tenure), reply) => {
                let Some((asked, sent)) = tenure.keepalive.filter(|(asked, _)| *asked == call)
                else {
                    return;
                };
                debug_assert_eq!(asked, call);
                tenure.keepalive = None;
                match reply {
                    Reply::Renewed(ttl) => {
                        tenure.kept_at = sent;
                        tenure.valid_until = sent + safe(*ttl);
                    }
                    _ => self.rest(rng),
                }
            }
            _ => {}
        }
    }

    /// The resource has told its value: it is written back, whether or not the lock is still ours.
    /// To look first would help little: a process may be stopped between the look and the write.
    pub(crate) fn value_read(&mut self, key: &LockKey, token: FencingToken, value: u64) {
        if matches!(&self.stage, Stage::Holding(tenure) if tenure.is(key, token)) {
            self.wants.push(Want::Write {
                key: key.clone(),
                token,
                value: value + 1,
            });
        }
    }

    /// The resource has taken a write, or refused it.
    pub(crate) fn written(&mut self, key: &LockKey, token: FencingToken) {
        if let Stage::Holding(tenure) = &mut self.stage
            && tenure.is(key, token)
        {
            tenure.updating = false;
        }
    }

    fn ask(&mut self, rng: &mut Rng, now: Moment) {
        let call = self.call();
        let name = |text: String| RequestId::try_from(text);
        let (Ok(request), Ok(holder)) = (
            name(format!("{}-{call}", self.id)),
            Holder::try_from(self.id.to_string()),
        ) else {
            unreachable!("both are short and plain")
        };
        let key = key_of(rng);
        let wait = if rng.chance(25) {
            Duration::ZERO
        } else {
            rng.millis(500, 8000)
        };
        let wish = Wish {
            request_id: request.clone(),
            holder,
            metadata: Metadata::new(),
            lease_id: LeaseId(i64::try_from(rng.between(1, 1 << 62)).unwrap_or(1)),
            ttl: Duration::from_secs(rng.between(2, 6)),
        };
        self.send(key.clone(), call, Ask::Acquire { wish, wait });
        self.wants.push(Want::Wake(wait + PATIENCE));
        self.stage = Stage::Asking {
            key,
            request,
            call,
            sent: now,
        };
    }

    fn answered(&mut self, key: LockKey, sent: Moment, reply: &Reply, rng: &mut Rng, now: Moment) {
        let Stage::Asking { request, .. } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return;
        };
        match reply {
            Reply::Acquired {
                lease,
                token,
                ttl,
                elapsed,
            } => {
                self.wants.push(Want::Wake(rng.millis(1, 50)));
                self.stage = Stage::Holding(Tenure {
                    key,
                    lease: *lease,
                    token: *token,
                    ttl: *ttl,
                    valid_until: sent + *elapsed + safe(*ttl),
                    updating: false,
                    keepalive: None,
                    kept_at: now,
                    done_at: now + rng.millis(50, 4000),
                });
            }
            Reply::Known => self.end(key, request),
            _ => self.rest(rng),
        }
    }

    fn hold(&mut self, mut tenure: Tenure, rng: &mut Rng, now: Moment) {
        let Tenure { lease, token, .. } = tenure;
        if now >= tenure.valid_until {
            // Lost. Some say so all the same, and late.
            return if rng.chance(50) {
                self.release(tenure.key, lease, token)
            } else {
                self.rest(rng)
            };
        }
        if now >= tenure.done_at {
            return self.release(tenure.key, lease, token);
        }
        if rng.chance(6) {
            self.asleep_until = now + rng.millis(1000, 10_000);
        }
        if rng.chance(2) {
            // It dies, and comes back with no memory of this.
            return self.rest(rng);
        }
        let overdue = tenure
            .keepalive
            .is_none_or(|(_, sent)| now.since(sent) > tenure.ttl / 3);
        if overdue && now.since(tenure.kept_at) > tenure.ttl / 3 {
            let call = self.call();
            tenure.keepalive = Some((call, now));
            self.send(tenure.key.clone(), call, Ask::KeepAlive(lease));
        }
        if !std::mem::replace(&mut tenure.updating, true) {
            self.wants.push(Want::Read {
                key: tenure.key.clone(),
                token,
            });
        }
        self.wants.push(Want::Wake(rng.millis(100, 500)));
        self.stage = Stage::Holding(tenure);
    }

    fn end(&mut self, key: LockKey, request: RequestId) {
        let call = self.call();
        let release = Claim::Request(request.clone());
        self.send(key.clone(), call, Ask::Release(release));
        self.wants.push(Want::Wake(PATIENCE));
        self.stage = Stage::Ending { key, request, call };
    }

    fn release(&mut self, key: LockKey, lease_id: LeaseId, fencing_token: FencingToken) {
        let call = self.call();
        let release = Claim::Tenure {
            lease_id,
            fencing_token,
        };
        self.send(key.clone(), call, Ask::Release(release));
        self.wants.push(Want::Wake(PATIENCE));
        self.stage = Stage::Releasing {
            key,
            lease: lease_id,
            token: fencing_token,
            call,
        };
    }

    fn rest(&mut self, rng: &mut Rng) {
        self.stage = Stage::Idle;
        self.wants.push(Want::Wake(rng.millis(1, 1500)));
    }

    fn send(&mut self, key: LockKey, call: u64, ask: Ask) {
        self.wants.push(Want::Send { key, call, ask });
    }

    fn call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

impl Tenure {
    /// Tokens tell tenures of one lock apart, and no others.
    fn is(&self, key: &LockKey, token: FencingToken) -> bool {
        self.key == *key && self.token == token
    }
}

/// What a client may rely on of a life that was told to it.
fn safe(ttl: Duration) -> Duration {
    ttl.saturating_sub((ttl / 20).max(Duration::from_millis(200)))
}

fn key_of(rng: &mut Rng) -> LockKey {
    let name = if rng.chance(70) { "busy" } else { "calm" };
    LockKey::parse(name).unwrap_or_else(|_| unreachable!("a plain name"))
}
