//! What replicas do because of what their watch shows: promote who is first and fits, and clear
//! away entries that nobody serves.

use crate::{
    compare::{self, Verdict},
    event::Event,
    grant::{self, Run},
    handler,
    keys::{Keys, Revision, Waiter},
    mistake::Mistake,
    proposal::{Kind, Proposal, Source},
    scenario::{LOCKS, REPLICAS, REQUESTS},
    steps::Steps,
};

/// A replica sees the next event.
pub(crate) fn deliver(steps: &mut Steps<'_>) {
    for replica in (0..REPLICAS).filter(|&replica| steps.from.lag[replica] > 0) {
        let mut state = *steps.from;
        state.lag[replica] -= 1;
        steps.fair(Event::Delivered { replica }, state);
    }
}

/// A replica acts on what it sees.
pub(crate) fn react(steps: &mut Steps<'_>) {
    for replica in (0..REPLICAS).filter(|&replica| !steps.from.crashed[replica]) {
        for lock in 0..LOCKS {
            promote(steps, replica, lock);
        }
        for request in 0..steps.scenario.requests.len() {
            clear_away(steps, replica, request);
        }
    }
}

/// Any replica may promote; one that does not own the head waits a moment first, so that it is
/// of no use to let it propose what would fail.
fn promote(steps: &mut Steps<'_>, replica: usize, lock: usize) {
    let (scenario, from) = (steps.scenario, steps.from);
    let view = from.view(replica);
    let Some(run) = whom_to_promote(steps, view, lock) else {
        return;
    };
    let proposed_already = from.flight.iter().any(|other| {
        other.kind == Kind::Promote
            && other.lock() == lock
            && other.replica() == replica
            && !other.abandoned
    });
    if proposed_already {
        return;
    }
    let proposal =
        Proposal::new(scenario, Kind::Promote, Source::Nobody, run.head, replica).granting(&run);
    let owns = usize::from(view.waiters[run.head].owner) == replica;
    if (owns || compare::verdict(scenario, from, &proposal) == Verdict::Passes) && steps.has_room()
    {
        let mut state = *from;
        state.propose(proposal);
        steps.fair(Event::Proposed { proposal }, state);
    }
}

fn whom_to_promote(steps: &Steps<'_>, view: &Keys, lock: usize) -> Option<Run> {
    let scenario = steps.scenario;
    let occupied = view.holders[lock].present() || view.tenures_of(scenario, lock).next().is_some();
    if scenario.makes(Mistake::NobodyPromotes)
        || scenario.makes(Mistake::PromotionOnlyWhenFree) && occupied
    {
        return None;
    }
    if scenario.makes(Mistake::PromotionWithoutOrder) && !occupied {
        let last = view.queue(scenario, lock).iter().last()?;
        let mut places: [Revision; REQUESTS] = [0; REQUESTS];
        places[last] = view.waiters[last].place;
        return Some(Run {
            head: last,
            places,
            counted: 0,
        });
    }
    grant::next_run(scenario, view, lock, None)
}

/// An own entry that no handler serves is swept; anybody's entry whose guard is gone is evicted.
/// Both compare that the entry is as it was seen, and so are as good as done at once.
fn clear_away(steps: &mut Steps<'_>, replica: usize, request: usize) {
    let (scenario, from) = (steps.scenario, steps.from);
    let seen = &from.view(replica).waiters[request];
    if !seen.present() || from.keys().waiters[request] != *seen {
        return;
    }
    let unserved = usize::from(seen.owner) == replica
        && from.handlers[request][replica].stage == handler::Stage::Idle;
    let guarded = from.keys().guarded(seen.lease);
    let stays = scenario.makes(Mistake::DeadEntryStays);
    if (unserved || !guarded) && !stays {
        let mut state = *from;
        let mut keys = *from.keys();
        keys.waiters[request] = Waiter::default();
        if !scenario.sessions {
            keys.unguard(seen.lease);
        }
        state.commit(scenario, keys);
        steps.fair(
            Event::ClearedAway {
                request,
                replica,
                unserved,
            },
            state,
        );
    }
}
