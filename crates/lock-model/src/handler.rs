//! The handler of a request: it lives at the replica that the request came to, and never moves.

mod serving;

use self::serving::Serving;
use crate::{
    client,
    event::Event,
    keys::{Revision, Seen},
    scenario::{REPLICAS, Scenario},
    state::State,
    steps::Steps,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stage {
    /// There is no handler.
    #[default]
    Idle,
    /// About to decide from the view.
    Start,
    /// About to decide from a read.
    Again,
    Acquiring,
    Enqueuing,
    Queued,
    /// Read that its request holds the lock.
    Found,
    /// Is to answer "not acquired", once nothing of its request can come after that.
    Closing,
    Burying,
    ToCancel,
    Cancelling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Handler {
    pub(crate) stage: Stage,
    /// Has not noticed yet that its client is gone, or it is not gone.
    pub(crate) connected: bool,
    /// The lease of the tenure, which it keeps alive until it answers.
    pub(crate) lease: u8,
    /// A keepalive that was sent along with its acquire came back, and what it promised runs on.
    pub(crate) confirmed: bool,
    /// What it read of the tenure: its token, and the replica that owns it.
    pub(crate) token: Revision,
    pub(crate) owner: u8,
    /// The revision of its queue entry.
    pub(crate) place: Revision,
}

/// What the handlers of `request` do next.
pub(crate) fn steps(steps: &mut Steps<'_>, request: usize) {
    for replica in (0..REPLICAS).filter(|&replica| !steps.from.crashed[replica]) {
        let handler = steps.from.handlers[request][replica];
        if handler.stage == Stage::Idle {
            continue;
        }
        if handler.connected && !steps.from.clients[request].listens_to(replica) {
            let mut state = *steps.from;
            state.handlers[request][replica].connected = false;
            steps.fair(Event::Noticed { request, replica }, state);
        }
        let mut serving = Serving {
            steps,
            request,
            replica,
            handler,
        };
        match handler.stage {
            Stage::Start | Stage::Again => serving.decide(),
            Stage::Queued => serving.wait(),
            Stage::ToCancel => serving.cancel(true),
            Stage::Closing => serving.close(),
            Stage::Found => serving.finish(),
            Stage::Acquiring => serving.confirm(),
            Stage::Idle | Stage::Enqueuing | Stage::Burying | Stage::Cancelling => (),
        }
    }
}

/// Ends the handler with "not acquired", if anybody still listens.
pub(crate) fn answer_not(state: &mut State, request: usize, replica: usize) {
    if state.clients[request].listens_to(replica) {
        state.clients[request].stage = client::Stage::NotAcquired;
    }
    state.handlers[request][replica] = Handler::default();
}

/// Ends the handler with "this request is known elsewhere": its client has to end it by id.
pub(crate) fn answer_known(state: &mut State, request: usize, replica: usize) {
    if state.clients[request].listens_to(replica) {
        state.clients[request].stage = client::Stage::Broken;
    }
    state.handlers[request][replica] = Handler::default();
}

impl State {
    /// Whether `request` waits in the queue with everything that it needs: its lease, its replica,
    /// its client.
    pub(crate) fn waits_alive(&self, request: usize) -> bool {
        let waiter = &self.keys().waiters[request];
        let owner = usize::from(waiter.owner);
        waiter.present()
            && self.keys().guarded(waiter.lease)
            && !self.crashed[owner]
            && self.clients[request].listens_to(owner)
            && self.handlers[request][owner].stage != Stage::Idle
    }

    /// Whether nothing is wrong with the request that `replica` serves, apart from its entry.
    pub(super) fn waits_in_good_order(&self, request: usize, replica: usize) -> bool {
        self.clients[request].listens_to(replica)
            && self.lives(self.handlers[request][replica].lease)
            && self.present(replica)
    }

    /// Whether the handler's tenure is there, or was ended by somebody who had a right to.
    pub(super) fn was_granted(
        &self,
        scenario: &Scenario,
        request: usize,
        handler: &Handler,
    ) -> bool {
        match self.keys().look(scenario, request) {
            Seen::Holds { .. } => true,
            _ => self.has_ended(request) && self.lives(handler.lease),
        }
    }
}

/// Whether the handler of the request keeps `lease` alive.
pub(crate) fn keeps(state: &State, request: usize, lease: u8) -> bool {
    (0..REPLICAS).any(|replica| {
        let handler = &state.handlers[request][replica];
        !state.crashed[replica] && handler.stage != Stage::Idle && handler.lease == lease
    })
}
