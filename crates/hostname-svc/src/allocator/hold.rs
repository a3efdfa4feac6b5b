//! What a turn at a prefix stands on: its lock, or check-and-set alone.

use crate::{documents::Fence, locks::PrefixLock};

/// A turn at a prefix. Without the lock it is as safe, since each write of the counter names the version
/// that it replaces; replicas that take their turns at once only lose writes to each other.
pub(super) enum Hold {
    Locked(PrefixLock),
    CheckAndSetAlone,
}

impl Hold {
    /// What the counter will say of this turn: nothing without a lock, and then it keeps what it says.
    pub(super) fn fence(&self) -> Option<Fence> {
        match self {
            Self::Locked(lock) => Some(lock.fence()),
            Self::CheckAndSetAlone => None,
        }
    }

    /// Whether it goes on, as far as time tells.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Locked(lock) => lock.is_valid(),
            Self::CheckAndSetAlone => true,
        }
    }

    /// Gives the lock back.
    pub(super) async fn release(self) {
        if let Self::Locked(lock) = self {
            lock.release().await;
        }
    }
}
