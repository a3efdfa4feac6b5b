//! What happens to locks.

use std::time::SystemTime;

use super::{FencingToken, Holder, LockKey, Mode, RequestId};

/// One change of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockEvent {
    /// The lock.
    pub key: LockKey,
    /// What happened.
    pub kind: EventKind,
    /// Grows from event to event of a lock; several of one step share it. In etcd its revision.
    pub position: u64,
    /// To whom; unknown for a key that a plain etcd client put.
    pub holder: Option<Holder>,
    /// How it holds, held or wants the lock.
    pub mode: Mode,
    /// The token of the tenure; a request in the queue has none.
    pub fencing_token: Option<FencingToken>,
    /// The request behind it, where it is one of ours.
    pub request_id: Option<RequestId>,
    /// The trace of the call that brought it about, where one did.
    pub trace_id: Option<String>,
    /// Why, in an administrator's words; of a force-release.
    pub reason: Option<String>,
    /// When this replica saw it.
    pub at: SystemTime,
    /// Whether this replica is the one to record it: of all replicas that see an event, one.
    pub is_ours: bool,
}

/// What happened to a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Somebody got it.
    Acquired,
    /// Its holder gave it back.
    Released,
    /// Its lease ran out.
    Expired,
    /// It was taken from its holder: by force, or with the key by a plain etcd client.
    Lost,
    /// Somebody stands in the queue.
    Queued,
}

impl EventKind {
    /// Whether somebody held until then.
    pub fn ends_a_tenure(self) -> bool {
        match self {
            Self::Released | Self::Expired | Self::Lost => true,
            Self::Acquired | Self::Queued => false,
        }
    }

    /// Its name: on the wire, in the audit log and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acquired => "acquired",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::Queued => "queued",
        }
    }
}
