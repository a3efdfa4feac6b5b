//! What a proposer makes of the answer to its proposal, or of none.

use crate::{
    compare::Verdict,
    handler::{self, Stage},
    keys::Seen,
    mistake::Mistake,
    property::{Property, Violation},
    proposal::{Kind, Proposal, Source},
    release,
    scenario::Scenario,
    state::{Plain, State},
};

/// Whether somebody waits for the answer and could wait in vain.
pub(crate) fn may_be_unknown(proposal: &Proposal) -> bool {
    !proposal.abandoned && proposal.source != Source::Nobody
}

/// The proposer gets the answer, and with it what the "else" branch read.
pub(crate) fn learn(
    scenario: &Scenario,
    state: &mut State,
    proposal: &Proposal,
    verdict: Verdict,
    violations: &mut Vec<Violation>,
) {
    if proposal.kind == Kind::PlainAcquire {
        state.plain = if verdict == Verdict::Passes {
            Plain::Holds
        } else {
            Plain::Over
        };
    }
    if proposal.abandoned {
        return;
    }
    match proposal.source {
        Source::Nobody => (),
        Source::Client | Source::CleanUp => release::learn(scenario, state, proposal, verdict),
        Source::Handler => {
            let session_gone = scenario.sessions && !state.keys().guarded(proposal.lease);
            let begins = matches!(proposal.kind, Kind::Acquire | Kind::Enqueue);
            let told_gone = verdict != Verdict::Passes && begins && session_gone;
            if told_gone && state.lives(proposal.lease) {
                violations.push(Violation::of(
                    Property::ToldTheTruth,
                    proposal.request(),
                    "is told that its lease is gone, and it lives",
                ));
            }
            learn_in_handler(scenario, state, proposal, verdict);
        }
    }
}

/// The proposer's patience ends: it knows nothing of the outcome.
pub(crate) fn give_up(state: &mut State, proposal: &Proposal) {
    match proposal.source {
        Source::Nobody => (),
        Source::Client | Source::CleanUp => release::give_up(state, proposal),
        Source::Handler => {
            let handler = &mut state.handlers[proposal.request()][proposal.replica()];
            handler.confirmed = false;
            handler.stage = match proposal.kind {
                Kind::Cancel => Stage::ToCancel,
                _ => Stage::Closing,
            };
        }
    }
}

fn learn_in_handler(scenario: &Scenario, state: &mut State, proposal: &Proposal, verdict: Verdict) {
    let (request, replica) = (proposal.request(), proposal.replica());
    let written = state.keys().waiters[request].place;
    let handler = &mut state.handlers[request][replica];
    handler.confirmed &= proposal.kind == Kind::Acquire && verdict == Verdict::Passes;
    match (proposal.kind, verdict) {
        (Kind::Enqueue, Verdict::Passes) => {
            handler.stage = Stage::Queued;
            handler.place = written;
        }
        (Kind::Acquire, Verdict::Passes) => read(scenario, state, request, replica, Stage::Again),
        (Kind::Cancel | Kind::Close, Verdict::Passes) => {
            handler::answer_not(state, request, replica)
        }
        (Kind::Acquire | Kind::Enqueue, Verdict::Fails) => {
            let absent = !state.present(replica);
            if scenario.sessions && !state.keys().guarded(proposal.lease)
                || absent && scenario.makes(Mistake::FinalAnswerWithoutTombstone)
            {
                handler::answer_not(state, request, replica);
            } else {
                let otherwise = if absent { Stage::Closing } else { Stage::Again };
                read(scenario, state, request, replica, otherwise);
            }
        }
        (Kind::Cancel, Verdict::Fails) if scenario.makes(Mistake::GoneMeansNotAcquired) => {
            handler::answer_not(state, request, replica);
        }
        (Kind::Cancel, Verdict::Fails) => read(scenario, state, request, replica, Stage::Closing),
        (Kind::Close, Verdict::Fails) => read(scenario, state, request, replica, Stage::Closing),
        (_, Verdict::LeaseGone) => handler::answer_not(state, request, replica),
        _ => (),
    }
}

/// The handler reads what there is of its request and goes on from there; `otherwise` when there is
/// nothing of it and no tombstone either.
pub(crate) fn read(
    scenario: &Scenario,
    state: &mut State,
    request: usize,
    replica: usize,
    otherwise: Stage,
) {
    let ended = state.has_ended(request) && !scenario.makes(Mistake::NoTombstone);
    let handler = &mut state.handlers[request][replica];
    match state.log[0].look(scenario, request) {
        Seen::Holds {
            token,
            lease,
            owner,
        } => {
            handler.stage = Stage::Found;
            handler.token = token;
            if scenario.makes(Mistake::TokenIsCreateRevision) {
                handler.token = state.log[0].holders[scenario.lock_of(request)].created;
            }
            handler.owner = owner;
            if usize::from(owner) == replica {
                handler.lease = lease;
            }
        }
        Seen::Waits { place, owner } if usize::from(owner) == replica => {
            handler.stage = if handler.stage == Stage::Cancelling {
                Stage::ToCancel
            } else {
                Stage::Queued
            };
            handler.place = place;
        }
        Seen::Waits { .. } => handler::answer_known(state, request, replica),
        Seen::Nothing if ended => handler::answer_not(state, request, replica),
        Seen::Nothing => handler.stage = otherwise,
    }
}
