//! Why an allocation did not come about.

use std::sync::Arc;

use crate::{documents::StemDocument, locks::LockError, store::StoreError};

/// Why nobody was given a number. Whoever has an idempotency key may ask again with it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AllocateError {
    /// The queue is full.
    #[error("too many requests wait for a number of this prefix")]
    QueueFull,
    /// The same stem and environment belong to another cut of it, which was first.
    #[error(
        "hostnames of this prefix could not be told from those of application `{}` and role `{}`, which were first",
        .0.application, .0.role
    )]
    Ambiguous(Box<StemDocument>),
    /// The lock was not to be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Twice in a row the counter knew a later holder of the lock than we were.
    #[error("the lock service gave an older fencing token than the counter was written under")]
    Fenced {
        /// Our token.
        token: u64,
        /// The one in the counter.
        by: u64,
    },
    /// The store comes from an older state: what it would give out next was given out before.
    #[error(
        "the counter stands at {value}, but hostnames up to number {mark} were given out: the store was restored from an older state"
    )]
    Regressed {
        /// Where the counter stands.
        value: u64,
        /// How far it had come.
        mark: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// Time ran out in the middle. A number may have been taken; it will be explained.
    #[error("the allocation was not finished in time")]
    Timeout,
    /// A stored document was deleted by hand.
    #[error("the {0} was deleted by hand")]
    Deleted(&'static str),
    /// A stored document is none that we can read.
    #[error("a stored document cannot be read")]
    Unreadable(String),
    /// The task that allocates ended: a defect.
    #[error("the allocation failed inside")]
    Internal,
}

impl AllocateError {
    /// Whether it is only that something is away or slow at this moment: whoever watches that has told.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Store(error) => match **error {
                StoreError::Unavailable(_)
                | StoreError::Unknown(_)
                | StoreError::Sealed
                | StoreError::Busy { .. } => true,
                StoreError::Denied(_) | StoreError::Refused(_) => false,
            },
            Self::QueueFull | Self::Lock(_) | Self::Timeout => true,
            Self::Ambiguous(_)
            | Self::Fenced { .. }
            | Self::Regressed { .. }
            | Self::Deleted(_)
            | Self::Unreadable(_)
            | Self::Internal => false,
        }
    }
}

impl From<StoreError> for AllocateError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
