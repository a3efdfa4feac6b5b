//! Clients: they ask, wait, lose their connection, hold, release once or twice, or die.

use crate::{
    event::Event,
    handler::{self, Handler},
    keys::Revision,
    lease,
    release::{Cause, Release},
    scenario::REPLICAS,
    state::State,
    steps::Steps,
};

/// What a client knows of one of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stage {
    /// Not sent yet.
    #[default]
    Idle,
    /// Waits for the answer.
    Waits,
    /// Its connection broke: it does not know what became of the request.
    Broken,
    /// Was told "acquired".
    Holds,
    /// Waits for the answer to its release.
    Releases,
    /// Ends the request by its id, again and again until that is answered.
    EndsById,
    /// Has released.
    Released,
    /// Was told that the request got nothing, or has ended it.
    NotAcquired,
    /// Has lost its lease.
    Lost,
    /// Died without a word.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Client {
    pub(crate) stage: Stage,
    /// The replica whose answer it waits for.
    pub(crate) replica: u8,
    /// What it was told.
    pub(crate) token: Revision,
    pub(crate) lease: u8,
}

impl Client {
    /// Whether it listens to what `replica` says about its request.
    pub(crate) fn listens_to(&self, replica: usize) -> bool {
        self.stage == Stage::Waits && usize::from(self.replica) == replica
    }

    /// Whether nothing of the request may be left behind.
    pub(crate) fn is_through(&self) -> bool {
        matches!(
            self.stage,
            Stage::Released | Stage::NotAcquired | Stage::Lost | Stage::Dead
        )
    }
}

/// What the client of `request` may do.
pub(crate) fn steps(steps: &mut Steps<'_>, request: usize) {
    let client = steps.from.clients[request];
    match client.stage {
        Stage::Idle => send(steps, request),
        Stage::Waits => {
            lose_connection(steps, request, &client);
            repeat(steps, request);
        }
        Stage::Broken => {
            die(steps, request);
            end_by_id(steps, request);
        }
        Stage::Holds => release(steps, request, &client, Cause::Asked),
        Stage::Released => release(steps, request, &client, Cause::Duplicate),
        _ => (),
    }
}

fn send(steps: &mut Steps<'_>, request: usize) {
    let (scenario, from) = (steps.scenario, steps.from);
    let wish = scenario.requests[request];
    let comes_later = |&earlier: &usize| {
        let other = scenario.requests[earlier];
        let same_client = other.client == wish.client && other.lock == wish.lock;
        let under_way =
            !from.clients[earlier].is_through() || from.clients[earlier].stage == Stage::Dead;
        same_client
            && if scenario.concurrent {
                from.clients[earlier].stage == Stage::Idle
            } else {
                under_way
            }
    };
    // Two clients that want the same are interchangeable until they ask, so they ask in order; and
    // so are the replicas, until one is asked.
    let takes_turns = |&earlier: &usize| {
        let other = scenario.requests[earlier];
        let alike = other.lock == wish.lock && other.mode == wish.mode;
        alike
            && scenario.client_of(earlier) != wish.client
            && from.clients[earlier].stage == Stage::Idle
            && is_lone(steps, earlier)
            && is_lone(steps, request)
    };
    if (0..request).any(|earlier| comes_later(&earlier) || takes_turns(&earlier)) {
        return;
    }
    let untouched = from
        .clients
        .iter()
        .all(|client| client.stage == Stage::Idle)
        && from.crashed == [false; REPLICAS]
        && from.leases.count_ones() == u32::from(lease::COUNT);
    let replicas = if untouched { 1 } else { REPLICAS };
    for replica in (0..replicas).filter(|&replica| !from.crashed[replica]) {
        let mut state = *from;
        state.clients[request].stage = Stage::Waits;
        arrive(steps, &mut state, request, replica);
        steps.may(Event::Sent { request, replica }, state);
    }
}

/// Whether the request is the only one of its client.
fn is_lone(steps: &Steps<'_>, request: usize) -> bool {
    let client = steps.scenario.client_of(request);
    steps
        .scenario
        .requests
        .iter()
        .filter(|other| other.client == client)
        .count()
        == 1
}

/// The request reaches `replica`, where it joins a handler that still serves it.
fn arrive(steps: &Steps<'_>, state: &mut State, request: usize, replica: usize) {
    state.clients[request].replica = replica as u8;
    let handler = &mut state.handlers[request][replica];
    handler.connected = true;
    if handler.stage == handler::Stage::Idle {
        *handler = Handler {
            stage: handler::Stage::Start,
            connected: true,
            lease: lease::of_tenure(steps.scenario, request, replica),
            ..Handler::default()
        };
    }
}

/// By accident while there is some left, or because the replica is dead.
fn lose_connection(steps: &mut Steps<'_>, request: usize, client: &Client) {
    let dead = steps.from.crashed[usize::from(client.replica)];
    let mut state = *steps.from;
    state.clients[request].stage = Stage::Broken;
    if dead {
        steps.fair(Event::Broken { request }, state);
    } else if state.left.breaks > 0 {
        state.left.breaks -= 1;
        steps.may(Event::Broken { request }, state);
    }
}

/// A proxy between client and service sends the same request once more.
fn repeat(steps: &mut Steps<'_>, request: usize) {
    if steps.from.left.repeats == 0 {
        return;
    }
    for replica in (0..REPLICAS).filter(|&replica| !steps.from.crashed[replica]) {
        let pooled = lease::of_tenure(steps.scenario, request, replica);
        let idle = steps.from.handlers[request][replica].stage == handler::Stage::Idle;
        if idle && !steps.scenario.sessions && !steps.from.lives(pooled) {
            // A fresh handler takes a fresh lease; the model has only this one.
            continue;
        }
        let mut state = *steps.from;
        state.left.repeats -= 1;
        arrive(steps, &mut state, request, replica);
        if steps.from.releases[request][1].is_under_way_at(replica) {
            handler::answer_known(&mut state, request, replica);
        }
        steps.may(Event::Repeated { request, replica }, state);
    }
}

fn die(steps: &mut Steps<'_>, request: usize) {
    let mut state = *steps.from;
    state.clients[request].stage = Stage::Dead;
    steps.may(Event::Died { request }, state);
}

fn end_by_id(steps: &mut Steps<'_>, request: usize) {
    for replica in (0..REPLICAS).filter(|&replica| !steps.from.crashed[replica]) {
        let mut state = *steps.from;
        begin_to_end(&mut state, request, replica);
        steps.may(Event::EndsById { request, replica }, state);
    }
}

/// The client asks `replica` to end its request by id.
pub(crate) fn begin_to_end(state: &mut State, request: usize, replica: usize) {
    state.clients[request].stage = Stage::EndsById;
    state.releases[request][0] = Release::by_id(replica);
}

fn release(steps: &mut Steps<'_>, request: usize, client: &Client, cause: Cause) {
    if steps.from.releases[request][0].is_under_way() {
        return;
    }
    for replica in (0..REPLICAS).filter(|&replica| !steps.from.crashed[replica]) {
        let mut state = *steps.from;
        state.releases[request][0] = Release::of(cause, replica, client.token, client.lease);
        if cause == Cause::Duplicate {
            if state.left.duplicates == 0 {
                return;
            }
            state.left.duplicates -= 1;
        } else {
            state.clients[request].stage = Stage::Releases;
        }
        steps.may(
            Event::Releases {
                request,
                replica,
                again: cause == Cause::Duplicate,
            },
            state,
        );
    }
}
