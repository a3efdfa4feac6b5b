//! The end of a tenure or of a request, as a replica carries it out: for the client that asks for
//! it, or as the clean-up of a handler whose client is gone.

use crate::{
    client,
    compare::{Verdict, holder_token},
    event::Event,
    grant,
    keys::{Keys, Revision, Seen},
    mistake::Mistake,
    proposal::{Kind, Proposal, Source},
    scenario::{Mode, Scenario},
    state::State,
    steps::Steps,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stage {
    /// There is no release.
    #[default]
    Idle,
    /// About to decide from the view.
    View,
    /// About to decide from a read.
    Read,
    /// About to put the tombstone and to look what there is of the request.
    EndAndLook,
    InFlight,
}

/// Why something is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Cause {
    /// The client asked, with lease and token.
    #[default]
    Asked,
    /// The client's message arrived once more, late.
    Duplicate,
    /// The client asked, with the request's id.
    ById,
    /// The handler's client is gone.
    CleanUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Release {
    pub(crate) stage: Stage,
    pub(crate) cause: Cause,
    pub(crate) replica: u8,
    pub(crate) token: Revision,
    pub(crate) lease: u8,
}

impl Release {
    pub(crate) fn of(cause: Cause, replica: usize, token: Revision, lease: u8) -> Self {
        Self {
            stage: Stage::View,
            cause,
            replica: replica as u8,
            token,
            lease,
        }
    }

    pub(crate) fn by_id(replica: usize) -> Self {
        Self {
            stage: Stage::EndAndLook,
            cause: Cause::ById,
            replica: replica as u8,
            ..Self::default()
        }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.stage != Stage::Idle
    }

    pub(crate) fn is_under_way_at(&self, replica: usize) -> bool {
        self.is_under_way() && usize::from(self.replica) == replica
    }

    fn slot(&self) -> usize {
        usize::from(self.cause == Cause::CleanUp)
    }

    /// Where it goes on when it knows nothing of its last attempt.
    pub(crate) fn start_over(&mut self) {
        self.stage = if self.cause == Cause::ById {
            Stage::EndAndLook
        } else {
            Stage::Read
        };
    }
}

/// What the releases of `request` do next.
pub(crate) fn steps(steps: &mut Steps<'_>, request: usize) {
    for slot in 0..2 {
        let release = steps.from.releases[request][slot];
        match release.stage {
            Stage::Idle | Stage::InFlight => (),
            Stage::View | Stage::Read => decide(steps, request, &release),
            Stage::EndAndLook => end_and_look(steps, request, &release),
        }
    }
}

/// Hand over to who fits, or release, or leave the lock to whoever is promoted.
fn decide(steps: &mut Steps<'_>, request: usize, release: &Release) {
    let (scenario, from) = (steps.scenario, steps.from);
    let keys = if release.stage == Stage::View {
        *from.view(usize::from(release.replica))
    } else {
        *from.keys()
    };
    let lock = scenario.lock_of(request);
    let mut state = *from;
    let Some(tenure) = find(scenario, &keys, request, release) else {
        if release.stage == Stage::View || release.cause == Cause::ById {
            state.releases[request][release.slot()].start_over();
            return steps.fair(
                Event::ReadsAgain {
                    request,
                    replica: release.replica.into(),
                },
                state,
            );
        }
        over(&mut state, request, release);
        return steps.fair(
            Event::IsOver {
                request,
                replica: release.replica.into(),
            },
            state,
        );
    };
    let source = if release.slot() == 0 {
        Source::Client
    } else {
        Source::CleanUp
    };
    let proposal = |kind| Proposal {
        lease: release.lease,
        tenure: tenure as u8,
        token: release.token,
        ..Proposal::new(scenario, kind, source, request, release.replica.into())
    };
    let proposal = match grant::next_run(scenario, &keys, lock, Some(tenure)) {
        Some(run) => proposal(Kind::HandOver).granting(&run),
        None if keys.queue(scenario, lock).is_empty() => proposal(Kind::Release),
        None if scenario.makes(Mistake::ReleaseOnlyHandsOver) => {
            state.releases[request][release.slot()].stage = Stage::Read;
            return steps.fair(
                Event::ReadsAgain {
                    request,
                    replica: release.replica.into(),
                },
                state,
            );
        }
        None => proposal(Kind::Leave),
    };
    propose(steps, request, release, proposal);
}

/// Whose tenure the lease and the token name.
fn find(scenario: &Scenario, keys: &Keys, request: usize, release: &Release) -> Option<usize> {
    let lock = scenario.lock_of(request);
    let named = |token: Revision, lease: u8| {
        let by_lease = scenario.makes(Mistake::ReleaseByLeaseAlone);
        token != 0 && lease == release.lease && (by_lease || token == release.token)
    };
    if scenario.mode_of(request) == Mode::Exclusive {
        let holder = &keys.holders[lock];
        return named(holder_token(scenario, keys, lock), holder.lease).then_some(request);
    }
    keys.tenures_of(scenario, lock)
        .find(|&other| named(keys.tenures[other].token, keys.tenures[other].lease))
}

/// One transaction that always passes: put the tombstone, read holder, tenure and entry.
fn end_and_look(steps: &mut Steps<'_>, request: usize, release: &Release) {
    let (scenario, from) = (steps.scenario, steps.from);
    let replica = usize::from(release.replica);
    let mut state = *from;
    state.bury(request);
    let mut keys = *from.keys();
    if scenario.makes(Mistake::EndLooksPastReaders) {
        keys.tenures = Default::default();
    }
    let seen = keys.look(scenario, request);
    match seen {
        Seen::Holds { token, lease, .. } => {
            let ended = &mut state.releases[request][0];
            ended.stage = Stage::Read;
            ended.token = token;
            if scenario.makes(Mistake::TokenIsCreateRevision)
                && scenario.mode_of(request) == Mode::Exclusive
            {
                ended.token = holder_token(scenario, from.keys(), scenario.lock_of(request));
            }
            ended.lease = lease;
        }
        Seen::Waits { place, .. } => {
            if !steps.has_room() {
                return;
            }
            state.releases[request][0].stage = Stage::InFlight;
            state.propose(Proposal {
                token: place,
                ..Proposal::new(scenario, Kind::Cancel, Source::Client, request, replica)
            });
        }
        Seen::Nothing => over(&mut state, request, release),
    }
    steps.fair(
        Event::EndsAndLooks {
            request,
            replica,
            seen,
        },
        state,
    );
}

fn propose(steps: &mut Steps<'_>, request: usize, release: &Release, proposal: Proposal) {
    if steps.has_room() {
        let mut state = *steps.from;
        state.releases[request][release.slot()].stage = Stage::InFlight;
        state.propose(proposal);
        steps.fair(Event::Proposed { proposal }, state);
    }
}

/// The release gets the answer to its proposal.
pub(crate) fn learn(scenario: &Scenario, state: &mut State, proposal: &Proposal, verdict: Verdict) {
    let request = proposal.request();
    let release = state.releases[request][usize::from(proposal.source == Source::CleanUp)];
    let once = release.cause == Cause::ById && scenario.makes(Mistake::ReleaseByRequestIdOnce);
    if verdict == Verdict::Passes || once {
        over(state, request, &release);
    } else {
        state.releases[request][release.slot()].start_over();
    }
}

/// The release does not know what came of its proposal: it decides again.
pub(crate) fn give_up(state: &mut State, proposal: &Proposal) {
    state.releases[proposal.request()][usize::from(proposal.source == Source::CleanUp)]
        .start_over();
}

/// Nothing is left to be done, and whoever asked is told so.
fn over(state: &mut State, request: usize, release: &Release) {
    state.releases[request][release.slot()] = Release::default();
    match release.cause {
        Cause::Asked => state.clients[request].stage = client::Stage::Released,
        Cause::ById => state.clients[request].stage = client::Stage::NotAcquired,
        Cause::Duplicate | Cause::CleanUp => (),
    }
}
