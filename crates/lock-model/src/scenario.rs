//! What is explored: who asks for which lock, and what may go wrong how often.

use crate::mistake::Mistake;

/// Requests that one scenario may have.
pub(crate) const REQUESTS: usize = 4;
/// Locks that one scenario may have.
pub(crate) const LOCKS: usize = 2;
/// Replicas of the lock service.
pub(crate) const REPLICAS: usize = 2;

/// What a request wants of its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nobody beside it.
    Exclusive,
    /// Only other readers beside it.
    Shared,
    /// Only other permits beside it, up to `limit` in all.
    Permit {
        /// The weight that may be held at once, as this request sees it.
        limit: u8,
        /// What this request takes of it.
        weight: u8,
    },
}

/// One request for one lock. Requests of one client follow each other unless the scenario says
/// that they are concurrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Who asks; the requests of a client share its session, where there are sessions.
    pub client: usize,
    /// Which lock.
    pub lock: usize,
    /// How.
    pub mode: Mode,
}

/// How often each kind of trouble may strike in one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// A proposal's answer never comes; the proposal may still be applied at any later time.
    pub unknown: u8,
    /// A client's connection breaks while it waits for an answer.
    pub breaks: u8,
    /// A proxy sends a request once more, to the same replica or to the other one.
    pub repeats: u8,
    /// The wait of a queued request ends.
    pub timeouts: u8,
    /// A release arrives once more after it was answered.
    pub duplicates: u8,
    /// A lease that is kept alive expires nevertheless.
    pub expiries: u8,
    /// The liveness lease of a running replica expires: it was paused for too long.
    pub lapses: u8,
    /// The tombstone of a request expires, as soon as nothing can be applied late any more.
    pub forgets: u8,
    /// An administrator ends all tenures of a lock.
    pub forced: u8,
    /// A replica dies for good.
    pub crashes: u8,
}

/// One bounded world to explore.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How it is called on the command line and in reports.
    pub name: String,
    /// At most four; their order is the order of a client's own requests.
    pub requests: Vec<Request>,
    /// Clients bring a session's lease; otherwise each tenure has a pooled lease of its own.
    pub sessions: bool,
    /// A client may have several requests under way at once.
    pub concurrent: bool,
    /// How many replicas there are, one or two.
    pub replicas: usize,
    /// How many events a replica's view may lag behind, at most two.
    pub lag: usize,
    /// How many waiters one transaction grants at most.
    pub run: usize,
    /// A plain etcd client competes for the first lock by "create revision is 0".
    pub plain_client: bool,
    /// Exclusive tenures leave a lock-delay behind when they expire.
    pub delay: bool,
    /// Operations on different locks may be applied as one transaction.
    pub batches: bool,
    /// A keepalive of the tenure's lease is sent along with an acquire, not only after it.
    pub ahead: bool,
    /// What may go wrong.
    pub faults: Faults,
    /// A mistake planted into the protocol, to see that it is found.
    pub mistake: Option<Mistake>,
    /// States after which the search stops, with what it saw so far.
    pub bound: usize,
}

impl Scenario {
    /// A calm world of two replicas with pooled leases, one client to a request, on one lock.
    pub fn new(name: &str, modes: &[Mode]) -> Self {
        let request = |(client, &mode)| Request {
            client,
            lock: 0,
            mode,
        };
        Self {
            name: name.to_owned(),
            requests: modes.iter().enumerate().map(request).collect(),
            sessions: false,
            concurrent: false,
            replicas: REPLICAS,
            lag: 2,
            run: REQUESTS,
            plain_client: false,
            delay: false,
            batches: false,
            ahead: false,
            faults: Faults::default(),
            mistake: None,
            bound: 12_000_000,
        }
    }

    /// The same world with a mistake in its protocol.
    #[must_use]
    pub fn planted(mut self, mistake: Mistake) -> Self {
        self.mistake = Some(mistake);
        self
    }

    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    pub(crate) fn lock_of(&self, request: usize) -> usize {
        self.requests[request].lock
    }

    pub(crate) fn mode_of(&self, request: usize) -> Mode {
        self.requests[request].mode
    }

    pub(crate) fn client_of(&self, request: usize) -> usize {
        self.requests[request].client
    }

    /// The requests for one lock.
    pub(crate) fn requests_for(&self, lock: usize) -> impl Iterator<Item = usize> + Clone + '_ {
        (0..self.requests.len()).filter(move |&request| self.requests[request].lock == lock)
    }
}
