//! Outcomes and errors of the domain, as problems.

use std::time::Duration;

use serde_json::Value;
use service_kit::{
    complaint::complain,
    problem::{Problem, ProblemKind},
    problem_kinds,
};
use tracing::debug;

use crate::{
    lease::{Anchor, Held},
    locks::LockError,
    store::StoreError,
};

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
        SESSION_NOT_FOUND: "session-not-found", 404, "There is no such session.", false,
            "It ended, or was not kept alive, and so did all that it held: open another.";
        DEADLOCK: "deadlock", 409, "The lock would never come: the wait is part of a circle.", false,
            "Give back a lock that others in `cycle` wait for, then ask again under a new `request_id`.";
        MIXED_FLEET: "mixed-fleet", 409, "Replicas of tentens-tech/shared-lock would not respect this mode.", false,
            "Use the mode `exclusive`; or an operator, once no such replica runs any more, sets SHARED_LOCK_COMPAT_GO_REPLICAS to false.";
        TOO_MANY_WAITERS: "too-many-waiters", 429, "This holder waits for too many locks at this replica.", true,
            "Wait for fewer at once; SHARED_LOCK_MAX_WAITERS_PER_HOLDER is the limit.";
        TOO_MANY_LOCKS: "too-many-locks", 429, "This holder has too many locks.", true,
            "Give some back; SHARED_LOCK_MAX_LOCKS_PER_HOLDER is the limit.";
        TOO_MANY_STREAMS: "too-many-streams", 429, "This replica serves as many event streams as it may.", true,
            "Ask another replica, or again later; SHARED_LOCK_MAX_EVENT_STREAMS is the limit.";
        SHUTTING_DOWN: "shutting-down", 503, "This replica is on its way down.", true,
            "Ask again, under a new `request_id`: another replica answers.";
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
        let kind = match &err {
            LockError::Store(store) => return store_problem(store),
            LockError::LeaseNotFound(_) => &LEASE_NOT_FOUND,
            LockError::SessionNotFound(_) => &SESSION_NOT_FOUND,
            LockError::MixedFleet(_) => &MIXED_FLEET,
            LockError::TooManyWaiters { .. } => &TOO_MANY_WAITERS,
            LockError::TooManyLocks { .. } => &TOO_MANY_LOCKS,
            LockError::TooManyStreams { .. } => &TOO_MANY_STREAMS,
            LockError::ShuttingDown => &SHUTTING_DOWN,
        };
        again(Self::new(kind, err), kind)
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

/// A tenure was to hang on a session that is gone.
pub(super) fn session_gone(anchor: Anchor) -> Problem {
    match anchor {
        Anchor::Session(id) => LockError::SessionNotFound(id).into(),
        Anchor::Own(_) => Problem::new(&REQUEST_ENDED, "the lease of this request ran out"),
    }
}

fn store_problem(err: &StoreError) -> Problem {
    let kind = match err {
        StoreError::Unavailable(_) | StoreError::Timeout => &STORE_UNAVAILABLE,
        StoreError::Refused(_) => &STORE_REFUSED,
        StoreError::Unsupported(_) => &UNSUPPORTED_BY_STORE,
    };
    log(err);
    again(Problem::new(kind, err), kind)
}

/// What may do better a second later says so.
fn again(problem: Problem, kind: &ProblemKind) -> Problem {
    match kind.retryable {
        true => problem.retry_after(Duration::from_secs(1)),
        false => problem,
    }
}

/// Tells what an operator has to look at, and not with every request. That the store is away is told by
/// who watches it, and each 503 by the server.
pub(super) fn log(err: &StoreError) {
    match err {
        StoreError::Unavailable(cause) => debug!("{err}: {cause:#}"),
        StoreError::Timeout | StoreError::Unsupported(_) => debug!("{err}"),
        StoreError::Refused(_) => complain(STORE_REFUSED.code, err),
    }
}

fn millis(duration: Option<Duration>) -> Value {
    duration.map_or(Value::Null, |duration| {
        super::bodies::millis(duration).into()
    })
}
