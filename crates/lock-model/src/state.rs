//! One state of the whole world: etcd, the proposals on their way to it, replicas and clients.

use crate::{
    client::Client,
    handler::Handler,
    keys::{Keys, Revision},
    lease,
    proposal::{Kind, Proposal},
    release::Release,
    scenario::{Faults, LOCKS, REPLICAS, REQUESTS, Scenario},
};

/// How many events a view may lag behind at most.
pub(crate) const LAG: usize = 2;
/// How many proposals may be on their way at once.
pub(crate) const FLIGHT: usize = 6;

/// What a plain etcd client is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Plain {
    #[default]
    Idle,
    Proposed,
    Holds,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The keys now, and before the last events.
    pub(crate) log: [Keys; LAG + 1],
    /// How many events each replica's view is behind.
    pub(crate) lag: [u8; REPLICAS],
    /// The leases that live: one bit each.
    pub(crate) leases: u16,
    /// The requests that have a tombstone T: one bit each.
    pub(crate) ended: u8,
    /// Proposals that etcd has not applied yet.
    pub(crate) flight: [Proposal; FLIGHT],
    /// What serves each request at each replica.
    pub(crate) handlers: [[Handler; REPLICAS]; REQUESTS],
    /// Who sent each request.
    pub(crate) clients: [Client; REQUESTS],
    /// What ends each request: on behalf of its client, and as its replica's clean-up.
    pub(crate) releases: [[Release; 2]; REQUESTS],
    /// The replicas that are dead.
    pub(crate) crashed: [bool; REPLICAS],
    pub(crate) plain: Plain,
    /// The last token granted of each lock.
    pub(crate) last_token: [Revision; LOCKS],
    /// What may still go wrong.
    pub(crate) left: Faults,
    /// The greatest revision that is named above.
    pub(crate) newest: Revision,
}

impl State {
    /// Nobody has asked for anything yet.
    pub(crate) fn first(scenario: &Scenario) -> Self {
        let mut keys = Keys::default();
        if scenario.sessions {
            for request in &scenario.requests {
                keys.guard(lease::session(request.client));
            }
        }
        let mut log = [Keys::default(); LAG + 1];
        log[0] = keys;
        let mut state = Self {
            log,
            lag: [0; REPLICAS],
            leases: (1 << lease::COUNT) - 1,
            ended: 0,
            flight: [Proposal::default(); FLIGHT],
            handlers: Default::default(),
            clients: Default::default(),
            releases: Default::default(),
            crashed: [false; REPLICAS],
            plain: Plain::Idle,
            last_token: [0; LOCKS],
            left: scenario.faults,
            newest: 0,
        };
        for replica in scenario.replicas..REPLICAS {
            state.crashed[replica] = true;
            state.leases &= !lease::bit(lease::liveness(replica));
        }
        state
    }

    /// The keys as they are.
    pub(crate) fn keys(&self) -> &Keys {
        &self.log[0]
    }

    /// The keys as `replica` sees them.
    pub(crate) fn view(&self, replica: usize) -> &Keys {
        &self.log[usize::from(self.lag[replica])]
    }

    /// The revision that the next transaction writes.
    pub(crate) fn next_revision(&self) -> Revision {
        self.newest + 1
    }

    pub(crate) fn lives(&self, lease: u8) -> bool {
        self.leases & lease::bit(lease) != 0
    }

    /// Whether `replica`'s liveness key L is there.
    pub(crate) fn present(&self, replica: usize) -> bool {
        self.lives(lease::liveness(replica))
    }

    pub(crate) fn has_ended(&self, request: usize) -> bool {
        self.ended & (1 << request) != 0
    }

    /// Puts the tombstone of `request`.
    pub(crate) fn bury(&mut self, request: usize) {
        self.ended |= 1 << request;
    }

    /// Makes `keys` what etcd stores, an event that views have yet to see.
    pub(crate) fn commit(&mut self, scenario: &Scenario, keys: Keys) {
        if keys == self.log[0] {
            return;
        }
        self.log.copy_within(0..LAG, 1);
        self.log[0] = keys;
        for (lag, crashed) in self.lag.iter_mut().zip(self.crashed) {
            *lag = if crashed {
                0
            } else {
                (*lag + 1).min(scenario.lag as u8)
            };
        }
    }

    /// `lease` is over, with everything that hangs on it.
    pub(crate) fn end_lease(&mut self, scenario: &Scenario, lease: u8) {
        self.leases &= !lease::bit(lease);
        let mut keys = *self.keys();
        keys.drop_lease(lease);
        self.commit(scenario, keys);
    }

    /// Whether another proposal may set out.
    pub(crate) fn has_room(&self) -> bool {
        self.flight
            .iter()
            .any(|proposal| proposal.kind == Kind::Nothing)
    }

    /// Sends `proposal` on its way. There must be room.
    pub(crate) fn propose(&mut self, proposal: Proposal) {
        if let Some(slot) = self
            .flight
            .iter_mut()
            .find(|slot| slot.kind == Kind::Nothing)
        {
            *slot = proposal;
        }
    }

    /// Brings two states that differ in nothing that matters to the same value: revisions become
    /// ranks, proposals are sorted, and history that no view shows any more is forgotten.
    pub(crate) fn normalise(&mut self) {
        let oldest = self.lag.iter().copied().max().map_or(0, usize::from);
        self.log[oldest + 1..].fill(Keys::default());

        let mut named = [false; 256];
        self.each_revision(&mut |revision| named[usize::from(*revision)] = true);
        let mut ranks = [0; 256];
        let mut newest = 0;
        for revision in (1..256).filter(|&revision| named[revision]) {
            newest += 1;
            ranks[revision] = newest;
        }
        self.each_revision(&mut |revision| *revision = ranks[usize::from(*revision)]);
        self.newest = newest;
        self.flight.sort_unstable();
    }

    fn each_revision(&mut self, visit: &mut impl FnMut(&mut Revision)) {
        self.log
            .iter_mut()
            .for_each(|keys| keys.each_revision(visit));
        self.flight
            .iter_mut()
            .for_each(|proposal| proposal.each_revision(visit));
        for handler in self.handlers.iter_mut().flatten() {
            visit(&mut handler.token);
            visit(&mut handler.place);
        }
        self.clients
            .iter_mut()
            .for_each(|client| visit(&mut client.token));
        self.releases
            .iter_mut()
            .flatten()
            .for_each(|release| visit(&mut release.token));
        self.last_token.iter_mut().for_each(visit);
    }
}
