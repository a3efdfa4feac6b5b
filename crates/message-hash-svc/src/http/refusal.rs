//! Why a call got no answer: in the challenge's form, `{"err_msg": "…"}`, or as a problem.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use service_kit::body::{BodyError, UnsupportedBody};
use service_kit::complaint::complain;
use service_kit::problem::{
    BODY_TIMEOUT, BODY_TOO_LARGE, INVALID, MALFORMED, Problem, ProblemKind, UNSUPPORTED_MEDIA_TYPE,
};
use service_kit::problem_kinds;

use crate::messages::MessageError;
use crate::store::StoreError;

problem_kinds! {
    /// The kinds beside the common ones.
    pub static OWN;
    pub(super) kinds {
        UNAUTHORIZED: "unauthorized", 401, "The call needs the administrator's key.", false,
            "Send it as `Authorization: Bearer …`.";
        ADMIN_OFF: "admin-off", 403, "There is no administrator.", false,
            "Set `MESSAGE_HASH_ADMIN_KEY`.";
        MESSAGE_BLOCKED: "message-blocked", 403, "The message was deleted and may not be kept again.", false,
            "Nothing: an administrator decided it.";
        MESSAGE_NOT_FOUND: "message-not-found", 404, "No message has this digest.", false,
            "Check the digest; it is 64 lower-case hexadecimal digits.";
        NOT_ACCEPTABLE: "not-acceptable", 406, "The message cannot be given in any accepted form.", false,
            "Accept `application/octet-stream`, which every message can be given as.";
        MESSAGE_GONE: "message-gone", 410, "The message was deleted, or its time has passed.", false,
            "Nothing, or post it again.";
        RANGE: "range-not-satisfiable", 416, "The message has no such bytes.", false,
            "`Content-Range` tells how many it has.";
        DIGEST_MISMATCH: "digest-mismatch", 422, "The body does not have the digest that was promised.", false,
            "Nothing was kept: compare both digests, and send the body again.";
        TOO_MANY_MISSES: "too-many-misses", 429, "Too much was asked for that is not there.", true,
            "Come again after `Retry-After`, or raise `MESSAGE_HASH_MISS_RATE`.";
        MESSAGE_DAMAGED: "message-damaged", 500, "The stored message does not have its digest any more.", false,
            "Post the message again, which mends it; look at the disk.";
        NO_BACKUP: "unsupported-by-store", 501, "The store is not backed up by this service.", false,
            "Use what the store itself comes with, `pg_basebackup` for PostgreSQL.";
        STORE_UNAVAILABLE: "store-unavailable", 503, "The store could not be written or read.", true,
            "Come again after `Retry-After`.";
    }
}

/// When a caller should come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call got no answer; `Display` is the `err_msg`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Malformed(String),
    #[error("{field}: {allowed}")]
    Invalid {
        field: &'static str,
        allowed: String,
    },
    #[error("Message not found")]
    NotFound,
    #[error("Message was deleted")]
    Deleted,
    #[error("Message has expired")]
    Expired,
    #[error(transparent)]
    Unsupported(#[from] UnsupportedBody),
    #[error("the message cannot be given as {0}")]
    NotAcceptable(&'static str),
    #[error("the message has {size} bytes")]
    Range { size: usize },
    #[error("the body has the digest {found}, not {wanted}")]
    Mismatch { found: String, wanted: String },
    #[error("the call needs the administrator's key")]
    Unauthorized,
    #[error("nobody is the administrator: no key is set")]
    AdminOff,
    #[error("the store is not backed up by this service")]
    NoBackup,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl Refusal {
    fn kind(&self) -> &'static ProblemKind {
        match self {
            Self::Malformed(_) | Self::Body(BodyError::Broken(_)) => &MALFORMED,
            Self::Invalid { .. } => &INVALID,
            Self::NotFound => &MESSAGE_NOT_FOUND,
            Self::Deleted | Self::Expired => &MESSAGE_GONE,
            Self::Unsupported(_) => &UNSUPPORTED_MEDIA_TYPE,
            Self::NotAcceptable(_) => &NOT_ACCEPTABLE,
            Self::Range { .. } => &RANGE,
            Self::Mismatch { .. } => &DIGEST_MISMATCH,
            Self::Unauthorized => &UNAUTHORIZED,
            Self::AdminOff => &ADMIN_OFF,
            Self::NoBackup => &NO_BACKUP,
            Self::Body(BodyError::TooSlow(_)) => &BODY_TIMEOUT,
            Self::Body(BodyError::TooLarge(_)) | Self::Message(MessageError::TooLarge(_)) => {
                &BODY_TOO_LARGE
            }
            Self::Message(MessageError::Blocked(_)) => &MESSAGE_BLOCKED,
            Self::Message(MessageError::Damaged(_)) => &MESSAGE_DAMAGED,
            Self::Message(MessageError::TooManyMisses) => &TOO_MANY_MISSES,
            Self::Message(MessageError::Store(_) | MessageError::Abandoned) => &STORE_UNAVAILABLE,
        }
    }

    fn log(&self) {
        if let Self::Message(MessageError::Store(StoreError::Unavailable(cause))) = self {
            complain("store", chain(cause.as_ref()));
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.kind().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.log();
        let mut response = HttpResponse::build(self.status_code());
        // The message may be posted the moment after.
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if self.kind().retryable {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER.as_secs()));
        }
        if let Self::Range { size } = self {
            response.insert_header((header::CONTENT_RANGE, format!("bytes */{size}")));
        }
        let text = serde_json::Value::String(self.to_string());
        response
            .content_type("application/json")
            .body(format!(r#"{{"err_msg": {text}}}"#))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        refusal.log();
        let problem = Self::new(refusal.kind(), &refusal);
        let problem = match &refusal {
            Refusal::Invalid { field, allowed } => problem.field(field, allowed),
            _ => problem,
        };
        if refusal.kind().retryable {
            return problem.retry_after(RETRY_AFTER);
        }
        problem
    }
}

/// An error and what caused it, in one line for the log.
fn chain(err: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(err), |err| err.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
