//! Locks as everybody may see them: never a lease id, which is the holder's own.

use std::time::Duration;

use super::{FencingToken, Holder, LockKey, Metadata, Mode};

/// A lock as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockView {
    /// Who holds it; empty when it is free.
    pub holders: Vec<HolderView>,
    /// Who waits for it, the next one first.
    pub waiters: Vec<WaiterView>,
}

/// A holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolderView {
    /// Unknown for a key that a plain etcd client put.
    pub holder: Option<Holder>,
    /// How it holds.
    pub mode: Mode,
    /// The token of the grant.
    pub fencing_token: FencingToken,
    /// How long it has been held, as far as the store can tell.
    pub held_for: Option<Duration>,
    /// The life granted; `None` for a key without a lease.
    pub ttl: Option<Duration>,
    /// What is left of it; advisory, stale on arrival.
    pub remaining: Option<Duration>,
    /// What the holder says about itself.
    pub metadata: Metadata,
}

/// A request in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaiterView {
    /// Who waits.
    pub holder: Holder,
    /// How it wants the lock.
    pub mode: Mode,
    /// How long it has waited, as far as the store can tell.
    pub waiting_for: Option<Duration>,
}

/// Which locks to list, in the byte order of their keys.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// What their keys begin with.
    pub prefix: String,
    /// The last key of the page before.
    pub after: Option<LockKey>,
    /// How many at most.
    pub limit: usize,
}

/// Locks that somebody holds or waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockPage {
    /// The locks, in order.
    pub locks: Vec<(LockKey, LockView)>,
    /// Whether there are more behind them.
    pub more: bool,
}
