//! What is asked of a lock, and how that ends.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use super::{FencingToken, Holder, LeaseId, LockKey, Metadata, Note, RequestId};

/// How a lock is wanted, or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// By one alone. The only mode that replicas of tentens-tech/shared-lock respect.
    #[default]
    Exclusive,
    /// By any number of readers at once.
    Shared,
    /// By as many as fit: the weights of all holders are at most the least of their limits.
    Permit {
        /// What all weights may come to.
        limit: NonZeroU32,
        /// What this one counts for; never more than `limit`.
        weight: NonZeroU32,
    },
}

impl Mode {
    /// Its name: on the wire, in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
            Self::Permit { .. } => "permit",
        }
    }
}

/// What a tenure hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// A lease of its own, of at least this life.
    Own(Duration),
    /// The lease of a session, which carries other tenures too.
    Session(LeaseId),
}

/// One wish for a lock. It lives at one replica and never moves.
#[derive(Debug, Clone)]
pub struct AcquireRequest {
    /// The lock wanted.
    pub key: LockKey,
    /// Who wants it.
    pub holder: Holder,
    /// What the tenure is to hang on.
    pub anchor: Anchor,
    /// How it is wanted.
    pub mode: Mode,
    /// How long to stand in the queue; zero answers at once.
    pub wait: Duration,
    /// How long nobody gets the lock after this tenure *expired*; zero: not at all. Of exclusive
    /// tenures only.
    pub lock_delay: Duration,
    /// Names this request; one id is one tenure.
    pub request_id: RequestId,
    /// What the holder says about itself.
    pub metadata: Metadata,
    /// Bytes of the holder key: the `value` of the tentens-tech/shared-lock wire, else the holder.
    pub value: String,
    /// The trace that the request belongs to, for the audit log.
    pub trace_id: Option<String>,
}

/// When a lease may run out at the earliest, on the clock of this process. A moment, and not what is
/// left until then: what holds an answer up must not be taken for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until(pub Instant);

impl Until {
    /// What is left at `now`.
    pub fn left_at(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// What is left at this moment.
    pub fn left(self) -> Duration {
        self.left_at(Instant::now())
    }
}

/// A lock held: under which lease, with which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenure {
    /// The lease to keep alive.
    pub lease_id: LeaseId,
    /// The token of this grant.
    pub fencing_token: FencingToken,
    /// The life granted.
    pub ttl: Duration,
    /// When it may run out, counted from the send of the last keepalive that came back.
    pub until: Until,
    /// What an earlier holder left, if anybody did.
    pub note: Option<Note>,
}

/// How a request for a lock ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquisition {
    /// The lock is ours.
    Acquired(Tenure),
    /// Somebody else has it, and the wait is over.
    Held(Held),
    /// The request id already holds, or waits at another replica.
    RequestKnown,
    /// The request id was ended by a release.
    RequestEnded,
    /// The session is gone: it ended, or was not kept alive.
    SessionGone,
    /// It would wait for itself: the sessions that wait for each other, each with the lock it waits
    /// for, this request first.
    Deadlock(Vec<(LockKey, Holder)>),
}

/// A lock that somebody else has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Who has it, the first where several have; unknown for a key that a plain etcd client put, when
    /// the queue goes first, or while a lock-delay runs.
    pub holder: Option<Holder>,
    /// The holder's lease; `None` for a key without one, or when nobody holds.
    pub lease_id: Option<LeaseId>,
    /// How long it has been held, as far as the store can tell.
    pub held_for: Option<Duration>,
    /// What is left of its lease; advisory, stale on arrival.
    pub remaining: Option<Duration>,
    /// Requests that wait for it.
    pub queue_length: usize,
}

/// Which tenure is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The one with this lease and token.
    Tenure {
        /// The lease of the tenure.
        lease_id: LeaseId,
        /// Its token: a late release must not free the next tenure of a lease.
        fencing_token: FencingToken,
    },
    /// Whatever this request got or waits for. A release ends it: it gets nothing any more.
    Request(RequestId),
}

/// A tenure that is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its token.
    pub fencing_token: FencingToken,
    /// What is left of its lease; advisory, stale on arrival.
    pub remaining: Option<Duration>,
}

/// Several locks or none, in one step. It does not queue: it tries again when a lock changes.
#[derive(Debug, Clone)]
pub struct AcquireAllRequest {
    /// The locks wanted, 1–30, each once.
    pub locks: Vec<WantedLock>,
    /// Who wants them.
    pub holder: Holder,
    /// What the tenures are to hang on; [`Anchor::Own`] opens a session for them.
    pub anchor: Anchor,
    /// How long to try; zero answers at once.
    pub wait: Duration,
    /// Names this request at each of the locks.
    pub request_id: RequestId,
    /// What the holder says about itself.
    pub metadata: Metadata,
    /// The trace that the request belongs to, for the audit log.
    pub trace_id: Option<String>,
}

/// One lock of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLock {
    /// The lock.
    pub key: LockKey,
    /// How it is wanted.
    pub mode: Mode,
}

/// How a request for several locks ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllAcquisition {
    /// All of them are ours.
    Acquired(AllAcquired),
    /// This one of them is somebody else's, and the time is over.
    Held(LockKey, Held),
    /// The request id holds one of them, or waits for it.
    RequestKnown,
    /// The request id was ended by a release.
    RequestEnded,
    /// The session is gone: it ended, or was not kept alive.
    SessionGone,
}

/// Several locks held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllAcquired {
    /// The session that carries them.
    pub session: Session,
    /// The token and the note of each, in the order they were asked for.
    pub tenures: Vec<(LockKey, FencingToken, Option<Note>)>,
}

/// A wish for a session.
#[derive(Debug, Clone)]
pub struct SessionRequest {
    /// Who it is for.
    pub holder: Holder,
    /// The life asked for; the store may grant a longer one.
    pub ttl: Duration,
}

/// One lease that carries many locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Its lease, to be kept alive like any other.
    pub id: LeaseId,
    /// The life granted.
    pub ttl: Duration,
    /// When it may run out, counted from the send of the last keepalive that came back.
    pub until: Until,
}
