//! Outcomes and errors of the domain, as problems.

use std::time::Duration;

use serde_json::Value;
use service_kit::{problem::Problem, problem_kinds};
use tracing::error;

use crate::{lease::Held, locks::LockError, store::StoreError};

problem_kinds! {
    /// The kinds of problems of this service, beside the common ones.
    pub static PROBLEMS;
    pub(super) kinds {
        LOCK_HELD: "lock-held", 409, "Somebody else holds the lock.", true,
            "Ask again later, under a new `request_id`, or wait in the queue with `wait_ms`.";
        REQUEST_KNOWN: "request-known", 409, "The request id already holds this lock, or waits for it elsewhere.", false,
            "End it with a release by `request_id`, then ask under a new one.";
        REQUEST_ENDED: "request-ended", 410, "The request id has ended.", false,
            "Ask under a new `request_id`.";
        LEASE_NOT_FOUND: "lease-not-found", 404, "The lease does not hold this lock.", false,
            "The lock is lost: stop what it protects, and acquire it again.";
        STORE_UNAVAILABLE: "store-unavailable", 503, "The lock store does not answer.", true,
            "Ask again after `Retry-After`; a lock that this call might have got is given back.";
        UNSUPPORTED_BY_STORE: "unsupported-by-store", 501, "The lock store does not do this.", false,
            "The table of stores in the documentation says which one does.";
        STORE_REFUSED: "store-refused", 500, "The lock store understands, and refuses.", false,
            "An operator looks at the log: permissions or limits of the store.";
    }
}

impl From<LockError> for Problem {
    fn from(err: LockError) -> Self {
        match err {
            LockError::Invalid { field, allowed } => Self::invalid(field, allowed),
            LockError::LeaseNotFound(_) => Self::new(&LEASE_NOT_FOUND, err),
            LockError::Store(store) => store_problem(&store),
        }
    }
}

/// Somebody else has the lock: who, since when, and when it may be worth to ask again.
pub(super) fn held(held: &Held) -> Problem {
    const AGAIN: Duration = Duration::from_secs(5);
    let detail = match &held.holder {
        Some(holder) => format!("the lock is held by `{holder}`"),
        None => "the lock is held".to_owned(),
    };
    let again = held.remaining.unwrap_or(AGAIN).min(AGAIN);
    Problem::new(&LOCK_HELD, detail)
        .with("holder", held.holder.as_ref().map(|holder| holder.as_str()))
        .with("held_ms", millis(held.held_for))
        .with("remaining_ms", millis(held.remaining))
        .with("queue_length", held.queue_length)
        .retry_after(again)
}

fn store_problem(err: &StoreError) -> Problem {
    let kind = match err {
        StoreError::Unavailable(_) | StoreError::Timeout => &STORE_UNAVAILABLE,
        StoreError::Refused(_) => &STORE_REFUSED,
        StoreError::Unsupported(_) => &UNSUPPORTED_BY_STORE,
    };
    log(err);
    let problem = Problem::new(kind, err);
    match kind.retryable {
        true => problem.retry_after(Duration::from_secs(1)),
        false => problem,
    }
}

/// Says once, where it is handled, what the store could not do, with its cause.
pub(super) fn log(err: &StoreError) {
    match err {
        StoreError::Unavailable(cause) => error!("{err}: {cause:#}"),
        StoreError::Timeout | StoreError::Refused(_) | StoreError::Unsupported(_) => {
            error!("{err}")
        }
    }
}

fn millis(duration: Option<Duration>) -> Value {
    duration.map_or(Value::Null, |duration| {
        super::locks::millis(duration).into()
    })
}
