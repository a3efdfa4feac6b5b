//! What is wanted of a lock, and what became of it.

use std::{sync::Arc, time::Duration};

use super::Moment;
use crate::lease::{Claim, FencingToken, Holder, LeaseId, Metadata, Mode, RequestId};

/// What a request brings with it: all that a grant needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Names the request.
    pub request_id: RequestId,
    /// Who asks.
    pub holder: Holder,
    /// What the holder says about itself.
    pub metadata: Metadata,
    /// How the lock is wanted.
    pub mode: Mode,
    /// What the tenure is to hang on: a lease of its own, which nobody has used, or a session's.
    pub lease_id: LeaseId,
    /// The life of that lease.
    pub ttl: Duration,
    /// Whether the lease is a session's.
    pub in_session: bool,
    /// How long nobody gets the lock after this tenure expired; of exclusive ones only.
    pub lock_delay: Duration,
    /// The trace of the call.
    pub trace_id: Option<String>,
}

impl Wish {
    /// The session, if there is one.
    pub fn session(&self) -> Option<LeaseId> {
        self.in_session.then_some(self.lease_id)
    }
}

/// A lock held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose wish it was.
    pub wish: Arc<Wish>,
    /// The token of this tenure.
    pub token: FencingToken,
    /// When it began.
    pub since: Moment,
    /// When it ends, unless its own lease is kept alive; `None`: with its session.
    pub until: Option<Moment>,
}

impl Grant {
    /// Whether this tenure is meant. Lease and token both: a late release must not end a tenure that
    /// came after it, in a session neither.
    pub fn is_claimed(&self, claim: &Claim) -> bool {
        match claim {
            Claim::Tenure {
                lease_id,
                fencing_token,
            } => self.wish.lease_id == *lease_id && self.token == *fencing_token,
            Claim::Request(request) => self.wish.request_id == *request,
        }
    }
}

/// A request in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// What it wants.
    pub wish: Arc<Wish>,
    /// When it came.
    pub since: Moment,
    /// When it stops waiting.
    pub until: Moment,
}
