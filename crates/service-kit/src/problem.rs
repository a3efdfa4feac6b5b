//! Errors as RFC 9457 `application/problem+json`.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::request::RequestContext;

/// One kind of error that callers can tell apart: a row of the table in `docs/api.md`.
#[derive(Debug)]
pub struct ProblemKind {
    /// Stable name, kebab-case: the member `code`, and the end of `type`.
    pub code: &'static str,
    /// HTTP status it travels with.
    pub status: u16,
    /// Short summary of the kind, the same at every occurrence.
    pub title: &'static str,
    /// Whether the same call may succeed later, unchanged.
    pub retryable: bool,
    /// What a caller or an operator does about it.
    pub remedy: &'static str,
}

/// Defines kinds of problems, one a line, and the list of all of them.
#[macro_export]
macro_rules! problem_kinds {
    (
        $(#[$doc:meta])* $list_vis:vis static $list:ident;
        $kind_vis:vis kinds {
            $($name:ident: $code:literal, $status:literal, $title:literal, $retryable:literal, $remedy:literal;)*
        }
    ) => {
        $(#[doc = $title] $kind_vis static $name: $crate::problem::ProblemKind = $crate::problem::ProblemKind {
            code: $code, status: $status, title: $title, retryable: $retryable, remedy: $remedy,
        };)*
        $(#[$doc])*
        $list_vis static $list: &[&$crate::problem::ProblemKind] = &[$(&$name),*];
    };
}

problem_kinds! {
    /// The kinds that every service answers.
    pub static COMMON;
    pub kinds {
        MALFORMED: "malformed", 400, "The request is not well-formed.", false,
            "Mend the request as `detail` says; for JSON it names line and column.";
        NOT_FOUND: "not-found", 404, "There is no such resource.", false, "Check the path.";
        METHOD_NOT_ALLOWED: "method-not-allowed", 405, "The resource does not know this method.", false,
            "Use one of the methods in the header `Allow`.";
        BODY_TIMEOUT: "body-timeout", 408, "The request body took too long.", true, "Send the body faster.";
        BODY_TOO_LARGE: "body-too-large", 413, "The request body is too large.", false,
            "Stay within the limit that `detail` names.";
        UNSUPPORTED_MEDIA_TYPE: "unsupported-media-type", 415, "The content type is not supported.", false,
            "Send the content type that `detail` names.";
        INVALID: "invalid", 422, "The request is well-formed but not valid.", false,
            "Mend the fields listed in `errors`.";
        INTERNAL: "internal", 500, "The service failed.", true,
            "A defect: report it with the `trace_id`.";
        NOT_READY: "not-ready", 503, "The service is not ready.", true,
            "Wait: `checks` names the dependency that does not answer.";
    }
}

/// One occurrence of a problem, on its way to the caller.
#[derive(Debug)]
pub struct Problem {
    kind: &'static ProblemKind,
    detail: String,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    retry_after: Option<Duration>,
}

/// What a problem looks like on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// A path on this service: `GET` it for what to do.
    #[schema(examples("/problems/invalid"))]
    r#type: String,
    /// The kind in a sentence, the same at every occurrence.
    title: &'static str,
    /// The HTTP status that it travels with.
    status: u16,
    /// A sentence about this occurrence.
    detail: &'a str,
    /// The kind, for programs.
    #[schema(examples("invalid"))]
    code: &'static str,
    /// Whether the same call may succeed later, unchanged.
    retryable: bool,
    /// Every field that is wrong.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
    /// The path of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// The trace of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a Map<String, Value>,
}

/// A field that is wrong.
#[derive(Debug, Serialize, ToSchema)]
struct FieldError {
    /// Its name; within a list with its place, as in `locks[2].key`.
    field: String,
    /// What is allowed.
    detail: String,
}

impl Problem {
    /// The media type of it.
    pub const CONTENT_TYPE: &str = "application/problem+json";

    /// A problem of `kind`; `detail` is the public sentence about this occurrence.
    pub fn new(kind: &'static ProblemKind, detail: impl fmt::Display) -> Self {
        Self {
            kind,
            detail: detail.to_string(),
            errors: Vec::new(),
            members: Map::new(),
            retry_after: None,
        }
    }

    /// A field that is not valid, with what is allowed.
    pub fn invalid(field: &str, allowed: impl fmt::Display) -> Self {
        Self::new(&INVALID, format!("{field}: {allowed}")).field(field, allowed)
    }

    /// Adds a field to the member `errors`.
    #[must_use]
    pub fn field(mut self, field: &str, allowed: impl fmt::Display) -> Self {
        self.errors.push(FieldError {
            field: field.to_owned(),
            detail: allowed.to_string(),
        });
        self
    }

    /// Adds an extension member.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Tells the caller when to come again, in the header `Retry-After` (whole seconds, at least one).
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The kind of this problem.
    pub fn kind(&self) -> &'static ProblemKind {
        self.kind
    }

    pub(crate) fn body(&self) -> ProblemBody<'_> {
        let request = RequestContext::current();
        let (instance, trace_id) = request
            .map(|request| (request.path, request.trace_id.to_string()))
            .unzip();
        ProblemBody {
            r#type: format!("/problems/{}", self.kind.code),
            title: self.kind.title,
            status: self.kind.status,
            detail: &self.detail,
            code: self.kind.code,
            retryable: self.kind.retryable,
            errors: &self.errors,
            instance,
            trace_id,
            members: &self.members,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, Self::CONTENT_TYPE));
        // Whoever is refused for want of a key is told of what kind it is (RFC 9110 §11.6.1).
        if self.kind.status == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1);
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        // The content type stays as it is.
        response.json(self.body())
    }
}
