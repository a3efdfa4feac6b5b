//! Why a lock was not taken, kept or given back.

use std::{fmt, time::Duration};

use crate::bucket::S3Error;

/// Why a call did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else holds the lock.
    #[error("{0}")]
    Held(Held),
    /// The lock was over before it was given back.
    #[error("the lock `{key}` was lost")]
    Lost {
        /// The lock.
        key: String,
    },
    /// An argument cannot be used: which, and what is allowed.
    #[error("{0}: {1}")]
    Option(&'static str, String),
    /// S3 failed, or was silent, at a step.
    #[error("S3 failed at {step}")]
    S3 {
        /// What was being done.
        step: Step,
        /// What S3 did.
        #[source]
        source: S3Error,
    },
    /// The bucket does not do what the strategy stands on; nothing can be locked in it this way.
    #[error("the bucket cannot carry this lock: {0}")]
    Unfit(String),
}

/// A lock that somebody else has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The lock.
    pub key: String,
    /// The instance that has it.
    pub owner: String,
    /// When it can be taken at the earliest, unless its owner gives it back, or renews it.
    pub remaining: Duration,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lock `{}` is held by `{}`", self.key, self.owner)
    }
}

/// What is done with the bucket, step by step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Finding out whether the bucket is fit for the strategy.
    Probe,
    /// Reading the state of the lock.
    Look,
    /// Writing a claim.
    Claim,
    /// Reading the state again, to see whether the claim has won.
    Confirm,
    /// Saying that the lock is still held.
    Renew,
    /// Giving the lock back.
    Release,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Probe => "trying the bucket",
            Self::Look => "reading the state of the lock",
            Self::Claim => "claiming the lock",
            Self::Confirm => "reading the state after the claim",
            Self::Renew => "renewing the lock",
            Self::Release => "giving the lock back",
        })
    }
}
