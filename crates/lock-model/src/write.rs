//! The "then" of each row: what etcd writes, and what a write must never do.

use crate::{
    client,
    compare::holder_token,
    keys::{Holder, Keys, PLAIN, Revision, Tenure, Waiter},
    mistake::Mistake,
    property::{Property, Violation},
    proposal::{Kind, Proposal, Source},
    scenario::{Mode, Scenario},
    state::State,
};

/// One transaction being written: `before` is what it compared, `keys` what it leaves.
pub(crate) struct Write<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) before: &'a State,
    pub(crate) state: &'a mut State,
    pub(crate) keys: &'a mut Keys,
    pub(crate) revision: Revision,
    pub(crate) violations: &'a mut Vec<Violation>,
}

impl Write<'_> {
    /// Writes `proposal`, whose compares pass.
    pub(crate) fn apply(&mut self, proposal: &Proposal) {
        let request = proposal.request();
        match proposal.kind {
            Kind::Nothing => (),
            Kind::Acquire => {
                self.check_queue(proposal, Revision::MAX, &[request]);
                self.grant(request, proposal.lease, proposal.replica, false);
            }
            Kind::Enqueue => self.enqueue(proposal),
            Kind::Promote => self.grant_run(proposal, false),
            Kind::HandOver => {
                let over = self.keys.holders[proposal.lock()].present();
                self.end_tenure(proposal);
                self.grant_run(proposal, over);
            }
            Kind::Release | Kind::Leave => self.end_tenure(proposal),
            Kind::Cancel => self.cancel(request),
            Kind::Close => self.state.bury(request),
            Kind::ForceRelease => self.end_all(proposal),
            Kind::PlainAcquire => {
                self.put_holder(proposal.lock(), PLAIN, proposal.lease, PLAIN, false);
            }
        }
        self.check_exclusion(proposal.lock());
    }

    fn enqueue(&mut self, proposal: &Proposal) {
        self.keys.waiters[proposal.request()] = Waiter {
            place: self.revision,
            lease: proposal.lease,
            owner: proposal.replica,
        };
        self.keys.guard(proposal.lease);
    }

    fn cancel(&mut self, request: usize) {
        let lease = self.keys.waiters[request].lease;
        self.keys.waiters[request] = Waiter::default();
        if !self.scenario.sessions || self.scenario.makes(Mistake::CancelDeletesTheSessionGuard) {
            self.keys.unguard(lease);
        }
        self.state.bury(request);
    }

    fn grant_run(&mut self, proposal: &Proposal, over: bool) {
        let granted: Vec<usize> = proposal.granted().collect();
        for &request in &granted {
            self.check_queue(proposal, proposal.run[request], &granted);
            let waiter = std::mem::take(&mut self.keys.waiters[request]);
            self.grant(request, waiter.lease, waiter.owner, over);
        }
    }

    fn grant(&mut self, request: usize, lease: u8, owner: u8, over: bool) {
        let lock = self.scenario.lock_of(request);
        let before = self.before.keys();
        if before.delays[lock] && !before.holders[lock].present() {
            self.found(
                Property::DelayIsKept,
                request,
                "is granted while the lock-delay runs",
            );
        }
        if self.scenario.mode_of(request) == Mode::Exclusive {
            self.put_holder(lock, request as u8, lease, owner, over);
            self.keys.delays[lock] = self.scenario.delay;
            return;
        }
        if self.scenario.makes(Mistake::TenureNamedByLease) {
            self.overwrite_same_lease(lock, lease);
        }
        if self.keys.tenures[request].present() {
            self.found(
                Property::NoForeignEnd,
                request,
                "was granted once more, over its own tenure",
            );
        }
        self.keys.tenures[request] = Tenure {
            token: self.revision,
            lease,
            owner,
        };
        self.check_token(lock, self.revision);
    }

    fn put_holder(&mut self, lock: usize, request: u8, lease: u8, owner: u8, over: bool) {
        if !over && self.keys.holders[lock].present() {
            self.violations.push(Violation::new(
                Property::NoForeignEnd,
                "the holder key is put over that of another tenure",
            ));
        }
        let created = if over {
            self.before.keys().holders[lock].created
        } else {
            self.revision
        };
        self.keys.holders[lock] = Holder {
            token: self.revision,
            created,
            lease,
            request,
            owner,
        };
        let token = holder_token(self.scenario, self.keys, lock);
        self.check_token(lock, token);
    }

    /// The tenure keys of one lease are one key: the new value replaces the old one.
    fn overwrite_same_lease(&mut self, lock: usize, lease: u8) {
        for other in self.scenario.requests_for(lock) {
            if self.keys.tenures[other].present() && self.keys.tenures[other].lease == lease {
                self.keys.tenures[other] = Tenure::default();
                self.found(
                    Property::NoForeignEnd,
                    other,
                    "lost its tenure to the next one on the same lease",
                );
            }
        }
    }

    fn end_tenure(&mut self, proposal: &Proposal) {
        let lock = proposal.lock();
        let tenure = proposal.tenure();
        let ended = if self.scenario.mode_of(tenure) == Mode::Exclusive {
            self.keys.delays[lock] = false;
            std::mem::take(&mut self.keys.holders[lock]).request
        } else {
            self.keys.tenures[tenure] = Tenure::default();
            proposal.tenure
        };
        let client = &self.before.clients[proposal.request()];
        let behind_its_back = proposal.source == Source::CleanUp
            && client.stage == client::Stage::Holds
            && client.token == proposal.token;
        if ended != proposal.request {
            self.found(
                Property::NoForeignEnd,
                usize::from(ended),
                "was ended by the release of another tenure",
            );
        } else if behind_its_back {
            self.found(
                Property::NoForeignEnd,
                proposal.request(),
                "was told, and then cleaned up",
            );
        }
        if ended != PLAIN {
            self.state.bury(usize::from(ended));
        }
    }

    fn end_all(&mut self, proposal: &Proposal) {
        let lock = proposal.lock();
        let holder = std::mem::take(&mut self.keys.holders[lock]);
        if holder.present() && holder.request != PLAIN {
            self.state.bury(usize::from(holder.request));
        }
        for request in self.scenario.requests_for(lock) {
            if std::mem::take(&mut self.keys.tenures[request]).present() {
                self.state.bury(request);
            }
        }
        self.keys.delays[lock] = false;
    }

    /// Tokens of a lock grow with each transaction that grants.
    fn check_token(&mut self, lock: usize, token: Revision) {
        let last = self.before.last_token[lock];
        if token <= last {
            self.violations.push(Violation::new(
                Property::TokensGrow,
                "the new tenure's token is not greater than the last one's",
            ));
        }
        self.state.last_token[lock] = token;
    }

    /// Nobody is served while a live waiter that came earlier stays in the queue.
    fn check_queue(&mut self, proposal: &Proposal, place: Revision, granted: &[usize]) {
        for other in self.scenario.requests_for(proposal.lock()) {
            let waiter = &self.before.keys().waiters[other];
            if granted.contains(&other) || !self.before.waits_alive(other) || waiter.place > place {
                continue;
            }
            self.found(
                Property::FirstComeFirstServed,
                other,
                "waits alive and came earlier than who is granted",
            );
        }
    }

    fn check_exclusion(&mut self, lock: usize) {
        let keys = &*self.keys;
        let readers = keys.readers(self.scenario, lock).count();
        let (weight, limit) = keys
            .permits(self.scenario, lock)
            .fold((0, u8::MAX), |(weight, limit), (_, l, w)| {
                (weight + w, limit.min(l))
            });
        let writer = keys.holders[lock].present();
        if writer && (readers > 0 || weight > 0) || readers > 0 && weight > 0 {
            self.violations.push(Violation::new(
                Property::Exclusion,
                "tenures that exclude each other are there at once",
            ));
        }
        if weight > limit {
            self.violations.push(Violation::new(
                Property::Capacity,
                "more weight is held than a permit's limit allows",
            ));
        }
    }

    fn found(&mut self, property: Property, request: usize, what: &str) {
        self.violations.push(Violation::of(property, request, what));
    }
}
