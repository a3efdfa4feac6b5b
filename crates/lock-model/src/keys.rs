//! What etcd stores of the locks, as it is at one revision: the keys of the protocol.
//!
//! A replica's view is such a value too, some revisions old.

use crate::{
    lease,
    scenario::{LOCKS, Mode, REQUESTS, Scenario},
};

/// A revision of etcd, as its rank among all revisions that a state still names: only order and
/// equality count, and so the state space is finite. Zero is "there is no such key".
pub(crate) type Revision = u8;

/// The holder key H together with its sidecar M, which live and die together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Holder {
    /// The mod revision: what its holder is told as fencing token.
    pub(crate) token: Revision,
    /// The create revision, which a hand-over keeps.
    pub(crate) created: Revision,
    pub(crate) lease: u8,
    /// Whose tenure it is; [`PLAIN`] for a plain etcd client.
    pub(crate) request: u8,
    /// The replica where that request lives.
    pub(crate) owner: u8,
}

/// The request of a [`Holder`] that is no request at all.
pub(crate) const PLAIN: u8 = 255;

/// The tenure key of a reader or of a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Tenure {
    pub(crate) token: Revision,
    pub(crate) lease: u8,
    pub(crate) owner: u8,
}

/// A queue entry Q. It is written once, so that its revision is its place as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Waiter {
    pub(crate) place: Revision,
    pub(crate) lease: u8,
    pub(crate) owner: u8,
}

impl Holder {
    pub(crate) fn present(&self) -> bool {
        self.token != 0
    }
}

impl Tenure {
    pub(crate) fn present(&self) -> bool {
        self.token != 0
    }
}

impl Waiter {
    pub(crate) fn present(&self) -> bool {
        self.place != 0
    }
}

/// All keys that a watch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Keys {
    /// H and M of each lock.
    pub(crate) holders: [Holder; LOCKS],
    /// S or P of each request, by its mode.
    pub(crate) tenures: [Tenure; REQUESTS],
    /// Q of each request.
    pub(crate) waiters: [Waiter; REQUESTS],
    /// Whether D of each lock is there.
    pub(crate) delays: [bool; LOCKS],
    /// G: one bit for each lease that has its guard key.
    pub(crate) guards: u16,
}

/// What a read of one request's keys shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Holds {
        token: Revision,
        lease: u8,
        owner: u8,
    },
    Waits {
        place: Revision,
        owner: u8,
    },
    Nothing,
}

impl Keys {
    pub(crate) fn guarded(&self, lease: u8) -> bool {
        self.guards & lease::bit(lease) != 0
    }

    pub(crate) fn guard(&mut self, lease: u8) {
        self.guards |= lease::bit(lease);
    }

    pub(crate) fn unguard(&mut self, lease: u8) {
        self.guards &= !lease::bit(lease);
    }

    /// Who waits for `lock`, first come first.
    pub(crate) fn queue(&self, scenario: &Scenario, lock: usize) -> Queue {
        let mut queue = Queue::default();
        for request in scenario
            .requests_for(lock)
            .filter(|&r| self.waiters[r].present())
        {
            queue.insert(request, |other| {
                self.waiters[other].place > self.waiters[request].place
            });
        }
        queue
    }

    /// The readers of `lock`.
    pub(crate) fn readers<'a>(
        &'a self,
        scenario: &'a Scenario,
        lock: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        self.tenures_of(scenario, lock)
            .filter(|&request| scenario.mode_of(request) == Mode::Shared)
    }

    /// The permits of `lock`: request, limit and weight.
    pub(crate) fn permits<'a>(
        &'a self,
        scenario: &'a Scenario,
        lock: usize,
    ) -> impl Iterator<Item = (usize, u8, u8)> + 'a {
        self.tenures_of(scenario, lock)
            .filter_map(|request| match scenario.mode_of(request) {
                Mode::Permit { limit, weight } => Some((request, limit, weight)),
                Mode::Exclusive | Mode::Shared => None,
            })
    }

    /// The requests that have a reader's or permit's tenure of `lock`.
    pub(crate) fn tenures_of<'a>(
        &'a self,
        scenario: &'a Scenario,
        lock: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        scenario
            .requests_for(lock)
            .filter(|&request| self.tenures[request].present())
    }

    /// What there is of `request`.
    pub(crate) fn look(&self, scenario: &Scenario, request: usize) -> Seen {
        let holder = &self.holders[scenario.lock_of(request)];
        if holder.present() && usize::from(holder.request) == request {
            return Seen::Holds {
                token: holder.token,
                lease: holder.lease,
                owner: holder.owner,
            };
        }
        let tenure = &self.tenures[request];
        if tenure.present() {
            return Seen::Holds {
                token: tenure.token,
                lease: tenure.lease,
                owner: tenure.owner,
            };
        }
        let waiter = &self.waiters[request];
        if waiter.present() {
            return Seen::Waits {
                place: waiter.place,
                owner: waiter.owner,
            };
        }
        Seen::Nothing
    }

    /// Everything that hangs on `lease` goes with it.
    pub(crate) fn drop_lease(&mut self, lease: u8) {
        self.unguard(lease);
        for holder in &mut self.holders {
            if holder.present() && holder.lease == lease {
                *holder = Holder::default();
            }
        }
        for tenure in &mut self.tenures {
            if tenure.present() && tenure.lease == lease {
                *tenure = Tenure::default();
            }
        }
        for waiter in &mut self.waiters {
            if waiter.present() && lease::liveness(usize::from(waiter.owner)) == lease {
                *waiter = Waiter::default();
            }
        }
    }

    pub(crate) fn each_revision(&mut self, visit: &mut impl FnMut(&mut Revision)) {
        for holder in &mut self.holders {
            visit(&mut holder.token);
            visit(&mut holder.created);
        }
        self.tenures
            .iter_mut()
            .for_each(|tenure| visit(&mut tenure.token));
        self.waiters
            .iter_mut()
            .for_each(|waiter| visit(&mut waiter.place));
    }
}

/// A few requests in order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Queue {
    requests: [usize; REQUESTS],
    len: usize,
}

impl Queue {
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.requests[..self.len].iter().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn insert(&mut self, request: usize, behind: impl Fn(usize) -> bool) {
        let at = self.iter().position(behind).unwrap_or(self.len);
        self.requests.copy_within(at..self.len, at + 1);
        self.requests[at] = request;
        self.len += 1;
    }
}
