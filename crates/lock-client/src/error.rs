//! Why a lock was not acquired, or not kept.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::key::Key;

/// Why a lock was not acquired, or not kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has the lock, and the wait, if there was one, is over.
    #[error("{0}")]
    Held(Held),
    /// We held the lock and do so no more.
    #[error("lock `{key}` was lost")]
    Lost {
        /// The lock.
        key: String,
    },
    /// A server took the request and did not answer in time.
    #[error("the lock service did not answer in time")]
    Timeout,
    /// The service answered that it cannot, or will not.
    #[error("the lock service answered {0}")]
    Server(Problem),
    /// No server was reached, or the connection broke.
    #[error("the lock service cannot be reached")]
    Transport(#[source] reqwest::Error),
    /// The key cannot name a lock; nothing was sent.
    #[error("`{key}` is no key of a lock: {reason}")]
    InvalidKey {
        /// The key as given.
        key: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// An option that cannot be used; nothing was sent.
    #[error("lock client option {option}: {reason}")]
    InvalidOption {
        /// Name of the field of [`ClientOptions`](crate::ClientOptions).
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The client was called outside of a Tokio runtime with timers and sockets; nothing was sent.
    #[error("the lock client was called outside of a Tokio runtime")]
    NoRuntime,
    /// The blocking client was called inside of a Tokio runtime, whose thread it would stop; nothing was sent.
    #[error("the blocking lock client was called inside of a Tokio runtime")]
    InsideRuntime,
}

impl Error {
    /// When to try again, where the service said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Held(held) => held.retry_after,
            Self::Server(problem) => problem.retry_after,
            _ => None,
        }
    }

    /// Whether the lock service itself is away or in trouble, in contrast to a lock not to be had.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Timeout | Self::Transport(_) => true,
            Self::Server(problem) => problem.status >= 500,
            Self::Held(_)
            | Self::Lost { .. }
            | Self::InvalidKey { .. }
            | Self::InvalidOption { .. }
            | Self::NoRuntime
            | Self::InsideRuntime => false,
        }
    }
}

/// A lock that somebody else has. What the service cannot tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The lock.
    pub key: String,
    /// Who has it.
    pub holder: Option<String>,
    /// How long it has been held.
    pub held_for: Option<Duration>,
    /// What is left of the holder's lease: advisory, and the holder may renew it.
    pub remaining: Option<Duration>,
    /// How many wait for it.
    pub queue_length: Option<u64>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Held {
    /// Of a lock that is held, by nobody knows whom.
    pub(crate) fn unknown(key: &Key) -> Self {
        Self {
            key: key.as_str().to_owned(),
            holder: None,
            held_for: None,
            remaining: None,
            queue_length: None,
            retry_after: None,
        }
    }

    /// Of several locks that were asked for at once, the one that the service names.
    pub(crate) fn of(keys: &[Key], problem: &Problem) -> Self {
        let named = problem.members.get("key").and_then(Value::as_str);
        let key = named.or(keys.first().map(Key::as_str)).unwrap_or_default();
        let number = |member: &str| problem.members.get(member).and_then(Value::as_u64);
        Self {
            key: key.to_owned(),
            holder: problem
                .members
                .get("holder")
                .and_then(Value::as_str)
                .map(str::to_owned),
            held_for: number("held_ms").map(Duration::from_millis),
            remaining: number("remaining_ms").map(Duration::from_millis),
            queue_length: number("queue_length"),
            retry_after: problem.retry_after,
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(holder) => write!(f, "lock `{}` is held by `{holder}`", self.key),
            None => write!(f, "lock `{}` is held", self.key),
        }
    }
}

/// What the service answered in [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) form, as far as it
/// did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable name of the kind of problem; empty when something else than the service answered.
    pub code: String,
    /// What happened, in a sentence.
    pub detail: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// All members of the answer.
    pub members: Map<String, Value>,
}

impl Problem {
    /// Whether it says that a lease, or a session, is over.
    pub(crate) fn says_gone(&self) -> bool {
        matches!(self.code.as_str(), "lease-not-found" | "session-not-found")
    }

    pub(crate) fn parse(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        let text = |member: &str| {
            members
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let retryable = members.get("retryable").and_then(Value::as_bool);
        Self {
            status,
            code: text("code"),
            detail: text("detail"),
            retryable: retryable.unwrap_or(matches!(status, 408 | 429 | 502..=504)),
            retry_after,
            members,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.detail.as_str()) {
            ("", "") => write!(f, "{}", self.status),
            ("", detail) => write!(f, "{}: {detail}", self.status),
            (code, "") => write!(f, "{} {code}", self.status),
            (code, detail) => write!(f, "{} {code}: {detail}", self.status),
        }
    }
}
