//! What a handler does next, stage by stage.

use super::{Handler, Stage, answer_known, answer_not};
use crate::{
    client,
    event::Event,
    grant,
    keys::Seen,
    mistake::Mistake,
    outcome,
    property::{Property, Violation},
    proposal::{Kind, Proposal, Source},
    release::{Cause, Release},
    scenario::Mode,
    steps::Steps,
};

/// One handler about to do something.
pub(super) struct Serving<'s, 'a> {
    pub(super) steps: &'s mut Steps<'a>,
    pub(super) request: usize,
    pub(super) replica: usize,
    pub(super) handler: Handler,
}

impl Serving<'_, '_> {
    /// Acquire if the lock looks free, else stand in its queue. Nothing is proposed for a client
    /// that is gone, or with a lease that is gone.
    pub(super) fn decide(&mut self) {
        let (scenario, from) = (self.steps.scenario, self.steps.from);
        let (request, replica) = (self.request, self.replica);
        if !self.handler.connected {
            let mut state = *from;
            state.handlers[request][replica] = Handler::default();
            return self.steps.fair(Event::Dropped { request, replica }, state);
        }
        if scenario.sessions
            && !from.keys().guarded(self.handler.lease)
            && !from.lives(self.handler.lease)
        {
            return self.lease_is_gone();
        }
        let keys = if self.handler.stage == Stage::Start {
            from.view(replica)
        } else {
            from.keys()
        };
        if let Seen::Holds { .. } | Seen::Waits { .. } = keys.look(scenario, request) {
            let mut state = *from;
            outcome::read(scenario, &mut state, request, replica, Stage::Again);
            return self.steps.fair(Event::Looked { request, replica }, state);
        }
        let lock = scenario.lock_of(request);
        let (kind, stage) = if grant::may_acquire(scenario, keys, request) {
            (Kind::Acquire, Stage::Acquiring)
        } else {
            (Kind::Enqueue, Stage::Enqueuing)
        };
        let header = scenario.makes(Mistake::CountedUpToTheWatchHeader);
        let counted_in = if header { from.keys() } else { keys };
        let exclusive = scenario.mode_of(request) == Mode::Exclusive;
        let proposal = Proposal {
            lease: self.handler.lease,
            token: if kind == Kind::Enqueue && exclusive {
                keys.holders[lock].token
            } else {
                0
            },
            counted: if kind == Kind::Acquire {
                grant::newest_permit(scenario, counted_in, lock)
            } else {
                0
            },
            ..self.proposal(kind)
        };
        self.propose(stage, proposal, true);
    }

    /// The keepalive that was sent along with the acquire comes back, before or after that is applied.
    pub(super) fn confirm(&mut self) {
        let (request, replica) = (self.request, self.replica);
        if self.steps.scenario.ahead && self.steps.from.lives(self.handler.lease) {
            let mut state = *self.steps.from;
            state.handlers[request][replica].confirmed = true;
            self.steps.may(Event::Confirmed { request, replica }, state);
        }
    }

    /// Waits for its entry to go, its time to pass, its client or its lease to vanish.
    pub(super) fn wait(&mut self) {
        let (scenario, from) = (self.steps.scenario, self.steps.from);
        let (request, replica) = (self.request, self.replica);
        let gone = !from.keys().waiters[request].present();
        let shows_gone = !from.view(replica).waiters[request].present();
        if gone && shows_gone {
            let mut state = *from;
            outcome::read(scenario, &mut state, request, replica, Stage::Closing);
            let dropped = from.waits_in_good_order(request, replica)
                && state.handlers[request][replica].stage == Stage::Closing;
            let violations = if dropped && !state.has_ended(request) {
                vec![Violation::of(
                    Property::FirstComeFirstServed,
                    request,
                    "loses its place though nothing was wrong with it",
                )]
            } else {
                Vec::new()
            };
            return self
                .steps
                .add(true, Event::Looked { request, replica }, state, violations);
        }
        let lease_gone =
            !from.lives(self.handler.lease) && !self.steps.scenario.makes(Mistake::DeadEntryStays);
        if !self.handler.connected || lease_gone {
            self.cancel(true);
        } else if from.left.timeouts > 0 {
            self.cancel(false);
        }
    }

    pub(super) fn cancel(&mut self, fair: bool) {
        let proposal = Proposal {
            token: self.handler.place,
            ..self.proposal(Kind::Cancel)
        };
        if fair {
            return self.propose(Stage::Cancelling, proposal, true);
        }
        if self.steps.has_room() {
            let mut state = *self.steps.from;
            state.left.timeouts -= 1;
            state.handlers[self.request][self.replica].stage = Stage::Cancelling;
            state.propose(proposal);
            self.steps.may(
                Event::WaitOver {
                    request: self.request,
                    replica: self.replica,
                },
                state,
            );
        }
    }

    /// Before "not acquired" is answered without a tombstone: one is put, unless the request holds or
    /// waits after all; or the pooled lease is revoked, and the entry that may stand in the queue is
    /// cancelled.
    pub(super) fn close(&mut self) {
        let (scenario, from) = (self.steps.scenario, self.steps.from);
        let (request, replica) = (self.request, self.replica);
        if scenario.sessions || scenario.makes(Mistake::PooledClosesByTombstone) {
            let mut state = *from;
            if let Seen::Holds { .. } | Seen::Waits { .. } = from.keys().look(scenario, request) {
                outcome::read(scenario, &mut state, request, replica, Stage::Closing);
                return self.steps.fair(Event::Looked { request, replica }, state);
            }
            let token = from.keys().holders[scenario.lock_of(request)].token;
            let proposal = Proposal {
                token,
                ..self.proposal(Kind::Close)
            };
            return self.propose(Stage::Burying, proposal, true);
        }
        let mut state = *from;
        let told = &from.clients[request];
        let hurts = told.stage == client::Stage::Holds && told.lease == self.handler.lease;
        let violations = if hurts {
            vec![Violation::of(
                Property::NoForeignEnd,
                request,
                "was told, and then its lease was revoked",
            )]
        } else {
            Vec::new()
        };
        state.end_lease(scenario, self.handler.lease);
        let forgets_entry =
            scenario.makes(Mistake::RevokeWithoutCancel) || scenario.makes(Mistake::DeadEntryStays);
        match state.keys().look(scenario, request) {
            Seen::Waits { place, owner } if usize::from(owner) == replica && !forgets_entry => {
                state.handlers[request][replica].stage = Stage::ToCancel;
                state.handlers[request][replica].place = place;
            }
            _ => answer_not(&mut state, request, replica),
        }
        self.steps
            .add(true, Event::Revoked { request, replica }, state, violations);
    }

    /// The request holds the lock: its client is told after a keepalive, unless one that was sent along
    /// with the acquire still counts; or the tenure is cleaned up when nobody is there to be told.
    pub(super) fn finish(&mut self) {
        let from = self.steps.from;
        let (request, replica) = (self.request, self.replica);
        let mut state = *from;
        if usize::from(self.handler.owner) != replica {
            answer_known(&mut state, request, replica);
            return self
                .steps
                .fair(Event::AnsweredKnown { request, replica }, state);
        }
        if !self.handler.connected {
            if from.releases[request][1].is_under_way() {
                return;
            }
            state.releases[request][1] = Release::of(
                Cause::CleanUp,
                replica,
                self.handler.token,
                self.handler.lease,
            );
            state.handlers[request][replica] = Handler::default();
            return self.steps.fair(Event::CleansUp { request, replica }, state);
        }
        let alive = from.lives(self.handler.lease) || self.handler.confirmed;
        if !alive
            && !self
                .steps
                .scenario
                .makes(Mistake::NoKeepaliveBeforeTheAnswer)
        {
            return self.lease_is_gone();
        }
        let heard = from.clients[request].listens_to(replica);
        let mut violations = Vec::new();
        if heard {
            state.clients[request].stage = client::Stage::Holds;
            state.clients[request].token = self.handler.token;
            state.clients[request].lease = self.handler.lease;
            if !from.was_granted(self.steps.scenario, request, &self.handler) {
                violations.push(Violation::of(
                    Property::ToldTheTruth,
                    request,
                    "is told \"acquired\" and does not hold the lock",
                ));
            }
        }
        state.handlers[request][replica] = Handler::default();
        self.steps.add(
            true,
            Event::Answered {
                request,
                replica,
                heard,
            },
            state,
            violations,
        );
    }

    fn lease_is_gone(&mut self) {
        let mut state = *self.steps.from;
        answer_not(&mut state, self.request, self.replica);
        self.steps.fair(
            Event::AnsweredNot {
                request: self.request,
                replica: self.replica,
            },
            state,
        );
    }

    fn proposal(&self, kind: Kind) -> Proposal {
        Proposal::new(
            self.steps.scenario,
            kind,
            Source::Handler,
            self.request,
            self.replica,
        )
    }

    fn propose(&mut self, stage: Stage, proposal: Proposal, fair: bool) {
        if !self.steps.has_room() {
            return;
        }
        let mut state = *self.steps.from;
        state.handlers[self.request][self.replica].stage = stage;
        state.propose(proposal);
        self.steps
            .add(fair, Event::Proposed { proposal }, state, Vec::new());
    }
}
