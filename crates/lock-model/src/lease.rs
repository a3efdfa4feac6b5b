//! The leases of a scenario, numbered so that a set of them fits into sixteen bits.

use crate::scenario::{REPLICAS, REQUESTS, Scenario};

const SESSIONS: u8 = (REQUESTS * REPLICAS) as u8;
const LIVENESS: u8 = SESSIONS + REQUESTS as u8;

/// The lease of a plain etcd client.
pub(crate) const OF_PLAIN_CLIENT: u8 = LIVENESS + REPLICAS as u8;
/// How many there are.
pub(crate) const COUNT: u8 = OF_PLAIN_CLIENT + 1;

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// One tenure of one request, granted from a replica's pool.
    Pooled { request: usize, replica: usize },
    /// All tenures of a client.
    Session { client: usize },
    /// The queue entries and the liveness key L of a replica.
    Liveness { replica: usize },
    /// The key of a plain etcd client.
    PlainClient,
}

/// The lease that a tenure of `request`, asked for at `replica`, hangs on.
pub(crate) fn of_tenure(scenario: &Scenario, request: usize, replica: usize) -> u8 {
    if scenario.sessions {
        SESSIONS + scenario.client_of(request) as u8
    } else {
        (request * REPLICAS + replica) as u8
    }
}

/// The liveness lease of `replica`.
pub(crate) fn liveness(replica: usize) -> u8 {
    LIVENESS + replica as u8
}

/// The lease of the session of `client`.
pub(crate) fn session(client: usize) -> u8 {
    SESSIONS + client as u8
}

/// What `lease` is for.
pub(crate) fn purpose(lease: u8) -> Use {
    let number = usize::from(lease);
    if lease < SESSIONS {
        Use::Pooled {
            request: number / REPLICAS,
            replica: number % REPLICAS,
        }
    } else if lease < LIVENESS {
        Use::Session {
            client: number - usize::from(SESSIONS),
        }
    } else if lease < OF_PLAIN_CLIENT {
        Use::Liveness {
            replica: number - usize::from(LIVENESS),
        }
    } else {
        Use::PlainClient
    }
}

/// `lease` as a set of one.
pub(crate) fn bit(lease: u8) -> u16 {
    1 << lease
}
