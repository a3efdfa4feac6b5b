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

    /// How far the counter has come, as earlier holders of the lock said.
    pub(super) fn mark(&self) -> u64 {
        match self {
            Self::Locked(lock) => lock.mark(),
            Self::CheckAndSetAlone => 0,
        }
    }

    /// Gives the lock back, and says how far the counter has come, if that is known.
    pub(super) async fn release(self, counter: Option<u64>) {
        if let Self::Locked(lock) = self {
            lock.release(counter).await;
        }
    }
}
