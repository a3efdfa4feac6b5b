//! Trouble: leases that expire, replicas that die, strangers and administrators.

use crate::{
    client::Stage,
    event::Event,
    handler,
    keys::PLAIN,
    lease::{self, Use},
    mistake::Mistake,
    proposal::{Kind, Proposal, Source},
    release::Release,
    scenario::{LOCKS, REPLICAS, REQUESTS},
    state::{Plain, State},
    steps::Steps,
};

/// The trouble that may come next.
pub(crate) fn steps(steps: &mut Steps<'_>) {
    for lease in 0..lease::COUNT {
        expire(steps, lease);
    }
    end_delays(steps);
    if steps.from.left.crashes > 0 {
        (0..REPLICAS)
            .filter(|&replica| !steps.from.crashed[replica])
            .for_each(|replica| crash(steps, replica));
    }
    plain_client(steps);
    forget(steps);
    if steps.from.left.forced > 0 {
        (0..LOCKS).for_each(|lock| force(steps, lock));
    }
}

/// A lease that nobody keeps alive expires in the end; one that is kept alive only by accident.
fn expire(steps: &mut Steps<'_>, lease: u8) {
    let from = steps.from;
    if !from.lives(lease) || !matters(steps, lease) {
        return;
    }
    let kept = is_kept(steps, lease);
    let mut state = *from;
    let budget = match lease::purpose(lease) {
        Use::Liveness { .. } => &mut state.left.lapses,
        _ => &mut state.left.expiries,
    };
    if kept {
        if *budget == 0 {
            return;
        }
        *budget -= 1;
    }
    state.end_lease(steps.scenario, lease);
    if !steps.scenario.makes(Mistake::ConfirmedForEver) {
        // What a keepalive promised counts from its send: it is over before etcd ends the lease.
        for handler in state.handlers.iter_mut().flatten() {
            handler.confirmed &= handler.lease != lease;
        }
    }
    if lease == lease::OF_PLAIN_CLIENT {
        state.plain = Plain::Over;
    }
    for client in &mut state.clients {
        if client.stage == Stage::Holds && client.lease == lease {
            client.stage = Stage::Lost;
        }
    }
    steps.add(!kept, Event::Expired { lease, kept }, state, Vec::new());
}

/// Whether anything hangs on the lease, or soon might.
fn matters(steps: &Steps<'_>, lease: u8) -> bool {
    let keys = steps.from.keys();
    match lease::purpose(lease) {
        Use::Pooled { request, .. } => {
            let held = keys
                .holders
                .iter()
                .any(|holder| holder.present() && holder.lease == lease);
            let tenure = keys.tenures[request].present() && keys.tenures[request].lease == lease;
            !steps.scenario.sessions && (held || tenure || keys.guarded(lease))
        }
        Use::Session { client } => {
            steps.scenario.sessions && steps.scenario.requests.iter().any(|r| r.client == client)
        }
        Use::Liveness { .. } => true,
        Use::PlainClient => matches!(steps.from.plain, Plain::Proposed | Plain::Holds),
    }
}

fn is_kept(steps: &Steps<'_>, lease: u8) -> bool {
    let (scenario, from) = (steps.scenario, steps.from);
    match lease::purpose(lease) {
        Use::Pooled { request, .. } => {
            let client = &from.clients[request];
            let by_client =
                matches!(client.stage, Stage::Holds | Stage::Releases) && client.lease == lease;
            by_client || handler::keeps(from, request, lease)
        }
        Use::Session { client } => (0..scenario.requests.len())
            .filter(|&r| scenario.client_of(r) == client)
            .all(|r| from.clients[r].stage != Stage::Dead),
        Use::Liveness { replica } => !from.crashed[replica],
        Use::PlainClient => from.plain == Plain::Holds,
    }
}

/// A lock-delay ends once the tenure that it followed is over.
fn end_delays(steps: &mut Steps<'_>) {
    for lock in 0..LOCKS {
        if steps.from.keys().delays[lock] && !steps.from.keys().holders[lock].present() {
            let mut state = *steps.from;
            let mut keys = *state.keys();
            keys.delays[lock] = false;
            state.commit(steps.scenario, keys);
            steps.fair(Event::DelayOver { lock }, state);
        }
    }
}

/// Handlers and clean-ups are gone; what clients wanted released they ask of another replica.
fn crash(steps: &mut Steps<'_>, replica: usize) {
    let mut state = *steps.from;
    state.left.crashes -= 1;
    state.crashed[replica] = true;
    state.lag[replica] = 0;
    for request in 0..REQUESTS {
        state.handlers[request][replica] = handler::Handler::default();
        let [asked, clean_up] = &mut state.releases[request];
        if clean_up.is_under_way_at(replica) {
            *clean_up = Release::default();
        }
        if asked.is_under_way_at(replica) {
            asked.replica = (REPLICAS - 1 - replica) as u8;
            asked.start_over();
        }
    }
    for proposal in &mut state.flight {
        if proposal.kind != Kind::Nothing
            && proposal.source != Source::Nobody
            && proposal.replica() == replica
            || proposal.kind == Kind::Promote && proposal.replica() == replica
        {
            proposal.abandoned = true;
        }
    }
    steps.may(Event::Crashed { replica }, state);
}

/// A client of etcd that knows nothing of queues: "create revision is 0, so it is mine".
fn plain_client(steps: &mut Steps<'_>) {
    if !steps.scenario.plain_client {
        return;
    }
    let mut state = *steps.from;
    match state.plain {
        Plain::Idle if steps.has_room() => {
            state.plain = Plain::Proposed;
            state.propose(Proposal {
                kind: Kind::PlainAcquire,
                request: PLAIN,
                lease: lease::OF_PLAIN_CLIENT,
                ..Proposal::default()
            });
            steps.may(Event::PlainAsks, state);
        }
        Plain::Holds => {
            state.end_lease(steps.scenario, lease::OF_PLAIN_CLIENT);
            state.plain = Plain::Over;
            steps.may(Event::PlainReleases, state);
        }
        _ => (),
    }
}

/// A tombstone lives longer than any acquire or enqueue of its request can be under way at a
/// replica whose liveness key is there; a replica without one may be late by any time.
fn forget(steps: &mut Steps<'_>) {
    let from = steps.from;
    if from.left.forgets == 0 {
        return;
    }
    for request in (0..steps.scenario.requests.len()).filter(|&request| from.has_ended(request)) {
        let begins = |proposal: &Proposal| {
            matches!(proposal.kind, Kind::Acquire | Kind::Enqueue) && proposal.request() == request
        };
        let may_be_late = (0..REPLICAS)
            .filter(|&replica| from.present(replica))
            .any(|replica| {
                from.handlers[request][replica].stage != handler::Stage::Idle
                    || from
                        .flight
                        .iter()
                        .any(|proposal| begins(proposal) && proposal.replica() == replica)
            });
        if !may_be_late {
            let mut state = *from;
            state.left.forgets -= 1;
            state.ended &= !(1 << request);
            steps.may(Event::Forgotten { request }, state);
        }
    }
}

/// An administrator ends whatever tenures a lock has.
fn force(steps: &mut Steps<'_>, lock: usize) {
    let keys = steps.from.keys();
    let holder = &keys.holders[lock];
    let newest = keys
        .tenures_of(steps.scenario, lock)
        .map(|tenure| keys.tenures[tenure].token)
        .chain([holder.token])
        .max();
    let counted = newest.unwrap_or(0);
    if counted == 0 || holder.request == PLAIN || !steps.has_room() {
        return;
    }
    let mut state = *steps.from;
    state.left.forced -= 1;
    state.propose(Proposal {
        kind: Kind::ForceRelease,
        lock: lock as u8,
        counted,
        ..Proposal::default()
    });
    steps.may(Event::Forced { lock }, state);
}

impl State {
    /// Whether the client of `request` waits at a replica that is alive.
    pub(crate) fn waits_for_answer(&self, request: usize) -> bool {
        let client = &self.clients[request];
        client.stage == Stage::Waits && !self.crashed[usize::from(client.replica)]
    }
}
