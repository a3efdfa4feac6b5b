//! What goes wrong, as problems.

use std::time::Duration;

use serde_json::json;
use service_kit::{
    complaint::complain,
    problem::{INTERNAL, Problem, ProblemKind},
    problem_kinds,
};

use super::field::invalid;
use crate::{
    allocator::AllocateError, documents::GivenUp, hostnames::HostnameError, locks::LockError,
    store::StoreError,
};

/// When to come again, where nobody knows better.
const SOON: Duration = Duration::from_secs(1);

problem_kinds! {
    /// The kinds of problems of this service, beside the common ones.
    pub static PROBLEMS;
    pub(super) kinds {
        HOSTNAME_NOT_FOUND: "hostname-not-found", 404, "There is no such hostname.", false,
            "Check the name; a hostname is given out by POST /v1/hostnames.";
        PREFIX_NOT_FOUND: "prefix-not-found", 404, "No hostname of this prefix was ever given out.", false,
            "Check application, role and environment; a prefix begins with its first hostname.";
        OPERATION_NOT_FOUND: "operation-not-found", 404, "There is no such operation.", false,
            "Check the id: it comes with the 202 of a call with `Prefer: respond-async`.";
        RECORD_DELETED: "record-deleted", 410, "The record of this hostname was deleted by hand.", false,
            "An operator restores it in the store (Vault: `undelete`); the name stays taken.";
        AMBIGUOUS_PREFIX: "ambiguous-prefix", 409, "The hostnames of this prefix could not be told from another's.", false,
            "Choose another application or role: `owner` has the same letters, cut elsewhere, or the same names.";
        PREFIX_EXHAUSTED: "prefix-exhausted", 409, "No number of this prefix fits into a hostname any more.", false,
            "Choose shorter parts: a hostname has at most 63 characters, or as many as its policy says.";
        QUOTA_EXCEEDED: "quota-exceeded", 409, "The prefix has as many hostnames as its policy allows.", false,
            "Ask whoever keeps the policies for more; the same Idempotency-Key may be used then.";
        NUMBER_PASSED: "number-passed", 409, "A number of the import is not beyond the counter.", false,
            "Leave it out: it was given out or passed over, and never will be again. `dry_run` names all of them.";
        HOSTNAMES_TAKEN: "hostnames-taken", 409, "Every hostname of the import is somebody's already.", false,
            "Nothing is to be done: none of them will be given out again.";
        KEY_REUSED: "idempotency-key-reused", 422, "The idempotency key was used with another request.", false,
            "Use a new key for a new request; a retry sends the same body.";
        QUEUE_FULL: "queue-full", 429, "Too many requests wait.", true, "Come again after `Retry-After`.";
        LOCK_TIMEOUT: "lock-timeout", 503, "The lock of the prefix was not to be had in time.", true,
            "Come again after `Retry-After`; many ask for hostnames of this prefix.";
        LOCK_UNAVAILABLE: "lock-unavailable", 503, "The lock service is unavailable.", true,
            "Come again after `Retry-After`; an operator looks at shared-lock-svc.";
        LOCK_REFUSED: "lock-refused", 503, "The lock service refuses what the service asks of it.", true,
            "An operator compares HOSTNAME_SVC_BUDGET, _LOCK_TTL and _LOCK_KEY_PREFIX with SHARED_LOCK_MAX_WAIT and _MAX_TTL.";
        LOCK_FENCED: "lock-fenced", 503, "The lock service gave an old fencing token.", true,
            "An operator looks at the lock service: was its store restored without a new token epoch?";
        COUNTER_REGRESSED: "counter-regressed", 503, "The counter is lower than it was.", false,
            "An operator restores the newest state of the store, or raises the floor of the prefix to the number that `detail` names.";
        STORE_UNAVAILABLE: "store-unavailable", 503, "The store of hostnames is unavailable.", true,
            "Come again after `Retry-After`, with the same Idempotency-Key if there was one.";
        VAULT_SEALED: "vault-sealed", 503, "Vault is sealed.", true, "An operator unseals Vault.";
        STORE_BUSY: "store-busy", 503, "The store of hostnames asks to slow down.", true,
            "Come again after `Retry-After`; an operator looks at Vault's quotas.";
        STORE_REFUSED: "store-refused", 503, "The store of hostnames refuses the service.", true,
            "An operator looks at the log: a permission is missing, or a document is too large.";
        ALLOCATION_TIMEOUT: "allocation-timeout", 503, "The hostname was not made in time.", true,
            "Ask again with the same Idempotency-Key: the hostname is perhaps there already.";
        DOCUMENT_DELETED: "document-deleted", 503, "A stored document was deleted by hand.", false,
            "An operator restores the document that `detail` names.";
        DOCUMENT_UNREADABLE: "document-unreadable", 500, "A stored document cannot be read.", false,
            "An operator looks at the document that the log names: a newer version of the service may have written it.";
    }
}

impl From<HostnameError> for Problem {
    fn from(error: HostnameError) -> Self {
        match &error {
            HostnameError::NotAllowed(fields) => invalid(fields),
            HostnameError::KeyReused => Problem::new(&KEY_REUSED, &error),
            HostnameError::RecordDeleted(_) => Problem::new(&RECORD_DELETED, &error),
            HostnameError::Failed(AllocateError::Ambiguous(owner)) => {
                Problem::new(&AMBIGUOUS_PREFIX, &error).with(
                    "owner",
                    json!({ "application": owner.application, "role": owner.role }),
                )
            }
            HostnameError::GivenUp(why) => match why {
                GivenUp::Exhausted => Problem::new(&PREFIX_EXHAUSTED, &error),
                GivenUp::Quota => Problem::new(&QUOTA_EXCEEDED, &error),
                GivenUp::AlwaysTaken => Problem::new(&AMBIGUOUS_PREFIX, &error),
                GivenUp::Passed => Problem::new(&NUMBER_PASSED, &error),
                GivenUp::Taken => Problem::new(&HOSTNAMES_TAKEN, &error),
            },
            HostnameError::Failed(failed) => of_failure(failed),
        }
    }
}

impl From<AllocateError> for Problem {
    fn from(error: AllocateError) -> Self {
        of_failure(&error)
    }
}

fn of_failure(error: &AllocateError) -> Problem {
    let kind = match error {
        AllocateError::Ambiguous(_) => &AMBIGUOUS_PREFIX,
        AllocateError::QueueFull => &QUEUE_FULL,
        AllocateError::Lock(LockError::Timeout) => &LOCK_TIMEOUT,
        AllocateError::Lock(LockError::Unavailable(_)) => &LOCK_UNAVAILABLE,
        AllocateError::Lock(LockError::Refused(_)) => &LOCK_REFUSED,
        AllocateError::Fenced { .. } => &LOCK_FENCED,
        AllocateError::Regressed { .. } => &COUNTER_REGRESSED,
        AllocateError::Store(store) => match &**store {
            StoreError::Unavailable(_) | StoreError::Unknown(_) => &STORE_UNAVAILABLE,
            StoreError::Sealed => &VAULT_SEALED,
            StoreError::Busy { .. } => &STORE_BUSY,
            StoreError::Denied(_) | StoreError::Refused(_) => &STORE_REFUSED,
        },
        AllocateError::Timeout => &ALLOCATION_TIMEOUT,
        AllocateError::Deleted(_) => &DOCUMENT_DELETED,
        AllocateError::Unreadable(_) => &DOCUMENT_UNREADABLE,
        AllocateError::Internal => &INTERNAL,
    };
    log(error, kind);
    let problem = Problem::new(kind, error);
    if kind.retryable {
        problem.retry_after(retry_after(error))
    } else {
        problem
    }
}

/// When to come again.
fn retry_after(error: &AllocateError) -> Duration {
    match error {
        AllocateError::Store(store) => match **store {
            StoreError::Busy { retry_after } => retry_after,
            _ => SOON,
        },
        _ => SOON,
    }
}

/// Tells what an operator has to look at, and not with every request that meets it. That something is
/// away is told by who watches it, and each 503 by the server.
fn log(error: &AllocateError, kind: &'static ProblemKind) {
    let why = match (std::error::Error::source(error), error) {
        (_, AllocateError::Unreadable(which)) => format!("{error}: {which}"),
        (Some(source), _) => format!("{error}: {source}"),
        (None, _) => error.to_string(),
    };
    match error {
        AllocateError::QueueFull
        | AllocateError::Ambiguous(_)
        | AllocateError::Timeout
        | AllocateError::Lock(_) => (),
        AllocateError::Store(store) => match **store {
            StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Sealed => {
                tracing::debug!("{why}");
            }
            StoreError::Busy { .. } | StoreError::Denied(_) | StoreError::Refused(_) => {
                complain(kind.code, why);
            }
        },
        AllocateError::Fenced { .. }
        | AllocateError::Regressed { .. }
        | AllocateError::Deleted(_)
        | AllocateError::Unreadable(_) => complain(kind.code, why),
        AllocateError::Internal => tracing::error!("{why}"),
    }
}
