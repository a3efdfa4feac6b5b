//! What must always hold, and what must hold in the end.

use crate::{
    client::Stage as ClientStage,
    grant,
    handler::Stage as HandlerStage,
    keys::{Keys, PLAIN, Waiter},
    scenario::{LOCKS, Scenario},
    state::State,
};

/// A promise of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// The token of a grant is greater than that of any earlier grant of the lock.
    TokensGrow,
    /// No tenure is ended on behalf of another one, nor by its own replica once it was told.
    NoForeignEnd,
    /// Who is told "acquired" has been granted the lock, on a lease that lives.
    ToldTheTruth,
    /// No writer beside anybody, no readers beside permits.
    Exclusion,
    /// Never more weight than the limit of any permit that is held.
    Capacity,
    /// Nobody is granted a lock whose delay after an expiry still runs.
    DelayIsKept,
    /// Live waiters are served in the order in which they came, and none is dropped.
    FirstComeFirstServed,

    /// Who is first among the live waiters and fits is granted in the end.
    NoLostWakeUp,
    /// A release, and an end by request id, are answered in the end.
    ReleasesEnd,
    /// A request is answered in the end, unless it waits in the queue.
    RequestsAreAnswered,
    /// Nothing is held in the end for a request that is over.
    NoGhostHold,
    /// Nothing stands in the queue in the end for a request that is over.
    NoGhostEntry,
}

/// The properties that must hold in the end: from every state where one is open, fair steps alone
/// must be able to lead to a state where it is not.
pub(crate) const EVENTUAL: [Property; 5] = [
    Property::NoLostWakeUp,
    Property::ReleasesEnd,
    Property::RequestsAreAnswered,
    Property::NoGhostHold,
    Property::NoGhostEntry,
];

/// A promise broken by one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) property: Property,
    /// The request that it hurts.
    pub(crate) request: Option<usize>,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(property: Property, what: &str) -> Self {
        Self {
            property,
            request: None,
            what: what.to_owned(),
        }
    }

    pub(crate) fn of(property: Property, request: usize, what: &str) -> Self {
        Self {
            property,
            request: Some(request),
            what: what.to_owned(),
        }
    }
}

/// The eventual properties that are open in `state`: one bit each.
pub(crate) fn open(scenario: &Scenario, state: &State) -> u8 {
    let open = [
        (0..LOCKS).any(|lock| somebody_fits(scenario, state, lock)),
        each(scenario).any(|request| {
            matches!(
                state.clients[request].stage,
                ClientStage::Releases | ClientStage::EndsById
            )
        }),
        each(scenario).any(|request| is_unanswered(state, request)),
        each(scenario).any(|request| is_ghost_hold(scenario, state, request)),
        each(scenario).any(|request| {
            state.keys().waiters[request].present() && state.clients[request].is_through()
        }),
    ];
    open.iter()
        .enumerate()
        .map(|(bit, &open)| u8::from(open) << bit)
        .sum()
}

fn each(scenario: &Scenario) -> impl Iterator<Item = usize> {
    0..scenario.requests.len()
}

/// Whether the first live waiter could be granted, were the dead ones cleared away.
fn somebody_fits(scenario: &Scenario, state: &State, lock: usize) -> bool {
    let mut keys: Keys = *state.keys();
    for request in scenario
        .requests_for(lock)
        .filter(|&request| !state.waits_alive(request))
    {
        keys.waiters[request] = Waiter::default();
    }
    keys.delays[lock] = false;
    grant::next_run(scenario, &keys, lock, None).is_some()
}

/// Whether the client waits, and not because its request stands in the queue with a lease that lives.
fn is_unanswered(state: &State, request: usize) -> bool {
    let handler = &state.handlers[request][usize::from(state.clients[request].replica)];
    let entry = &state.keys().waiters[request];
    let queued = handler.stage == HandlerStage::Queued
        && entry.present()
        && state.keys().guarded(entry.lease);
    state.waits_for_answer(request) && !queued
}

fn is_ghost_hold(scenario: &Scenario, state: &State, request: usize) -> bool {
    let holder = &state.keys().holders[scenario.lock_of(request)];
    let holds =
        holder.present() && holder.request != PLAIN && usize::from(holder.request) == request;
    (holds || state.keys().tenures[request].present()) && state.clients[request].is_through()
}
