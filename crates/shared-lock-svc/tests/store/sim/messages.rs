//! What is said between clients and the server.

use std::{sync::Arc, time::Duration};

use shared_lock_svc::{
    lease::{Claim, FencingToken, Holder, LeaseId, LockKey, Note, RequestId},
    state::{Cause, Moment, Several, Wish},
};

/// A message to the server; the last two it sends to itself.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Acquire {
        key: LockKey,
        wish: Arc<Wish>,
        wait: Duration,
    },
    AcquireAll {
        several: Several,
        wait: Duration,
    },
    /// The server finds the id.
    OpenSession {
        id: Option<LeaseId>,
        holder: Holder,
        ttl: Duration,
    },
    EndSession(LeaseId),
    KeepAlive(LeaseId),
    Release {
        key: LockKey,
        claim: Claim,
        note: Option<Note>,
    },
    Force(LockKey),
    Leave {
        key: LockKey,
        request: RequestId,
        cause: Cause,
    },
    Tick,
}

/// A message from the server.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Acquired {
        tenures: Vec<(LockKey, FencingToken)>,
        lease: LeaseId,
        ttl: Duration,
        elapsed: Duration,
    },
    SessionOpened {
        id: LeaseId,
        ttl: Duration,
        elapsed: Duration,
    },
    Held,
    Known,
    Ended,
    SessionGone,
    Deadlock,
    Renewed(Duration),
    Gone,
    Done,
}

/// Whom a reply is for: a client, and the call that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) client: usize,
    pub(crate) call: u64,
    pub(crate) arrived: Moment,
}

/// A request at a lock; one for several locks goes by the first of them.
pub(crate) type Id = (LockKey, RequestId);
