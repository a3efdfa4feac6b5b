//! The challenge's form of an error: `{"err_msg": "…"}` as `application/json`.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use service_kit::body::BodyError;
use service_kit::complaint::complain;

use crate::messages::MessageError;
use crate::store::StoreError;

/// Seconds after which a caller should come again.
const RETRY_AFTER: &str = "1";

/// Why a call got no answer; `Display` is the `err_msg`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Malformed(String),
    #[error("Message not found")]
    NotFound,
    #[error("{0}")]
    Unsupported(String),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl Refusal {
    /// What `found` should have been.
    pub(super) fn unsupported(what: &str, found: &str, wanted: &str) -> Self {
        let found = if found.is_empty() {
            "missing".to_owned()
        } else {
            format!("`{found}`")
        };
        Self::Unsupported(format!("the {what} is {found}, it has to be `{wanted}`"))
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Body(BodyError::Broken(_)) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(BodyError::TooSlow(_)) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::TooLarge(_)) | Self::Message(MessageError::TooLarge(_)) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Message(MessageError::Damaged(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Message(MessageError::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::Message(MessageError::Store(StoreError::Unavailable(cause))) = self {
            complain("store", chain(cause.as_ref()));
        }
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER));
        }
        let text = serde_json::Value::String(self.to_string());
        response
            .content_type("application/json")
            .body(format!(r#"{{"err_msg": {text}}}"#))
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
