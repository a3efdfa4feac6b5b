//! Request bodies: read within a limit and a time, and parsed so that a refusal names its place.

mod media;
mod unique;

use std::time::Duration;

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header,
    web::{Bytes, BytesMut, Data},
};
use futures_util::{StreamExt, future::LocalBoxFuture};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

pub use self::media::{MediaType, UnsupportedBody};
use crate::{
    problem::{BODY_TIMEOUT, BODY_TOO_LARGE, MALFORMED, Problem},
    query::Query,
};

/// How large a body may be, and how long it may take to arrive.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Bytes.
    pub size: usize,
    /// From the first byte of the body to the last.
    pub time: Duration,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the limit, in bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive in time.
    #[error("the body did not arrive within {0:?}")]
    TooSlow(Duration),
    /// The connection or the encoding broke.
    #[error("the body could not be read")]
    Broken(#[source] PayloadError),
}

impl From<BodyError> for Problem {
    fn from(err: BodyError) -> Self {
        let kind = match &err {
            BodyError::TooLarge(_) => &BODY_TOO_LARGE,
            BodyError::TooSlow(_) => &BODY_TIMEOUT,
            BodyError::Broken(_) => &MALFORMED,
        };
        Problem::new(kind, err)
    }
}

/// Reads a body to its end.
///
/// # Errors
/// It passes a limit, or breaks off.
pub async fn read(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<Bytes, BodyError> {
    read_with(request, payload, limits, |_| ()).await
}

/// Reads a body to its end and shows each piece to `see` as it arrives.
///
/// # Errors
/// It passes a limit, or breaks off.
pub async fn read_with(
    request: &HttpRequest,
    mut payload: Payload,
    limits: BodyLimits,
    mut see: impl FnMut(&[u8]),
) -> Result<Bytes, BodyError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits.size) {
        return Err(BodyError::TooLarge(limits.size));
    }
    let whole = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(BodyError::Broken)?;
            if body.len() + chunk.len() > limits.size {
                return Err(BodyError::TooLarge(limits.size));
            }
            see(&chunk);
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    timeout(limits.time, whole)
        .await
        .map_err(|_| BodyError::TooSlow(limits.time))?
}

/// A JSON body of a native call.
///
/// What is no JSON is refused with line and column (400); what does not fit `T` with the name of the
/// field (422). Let `T` be `deny_unknown_fields`. What such a call says is in its body: a query is refused.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            Query::expect_none(request.query_string())?;
            expect_json(&request)?;
            let limits = request.app_data::<Data<BodyLimits>>().map_or(
                BodyLimits {
                    size: 64 * 1024,
                    time: Duration::from_secs(10),
                },
                |limits| ***limits,
            );
            let body = read(&request, payload, limits).await?;
            parse(&body).map(Self)
        })
    }
}

/// Takes a body that is JSON by its headers.
///
/// # Errors
/// It is something else, or encoded.
pub fn expect_json(request: &HttpRequest) -> Result<(), UnsupportedBody> {
    let media = MediaType::of(request)?;
    match media.essence() {
        "application/json" => Ok(()),
        _ => Err(media.refused("application/json")),
    }
}

/// Parses a JSON body into `T`.
///
/// # Errors
/// The refusal says where: line and column of what is no JSON, the field of what does not fit.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|err| {
        Problem::new(
            &MALFORMED,
            format!(
                "the body is not UTF-8: byte {} is not valid",
                err.valid_up_to()
            ),
        )
    })?;
    let value = unique::parse(text)?;
    // serde would take an array for a struct, its elements for the fields.
    if !value.is_object() {
        return Err(Problem::invalid("body", "must be a JSON object"));
    }
    serde_path_to_error::deserialize(value).map_err(|err| {
        let path = err.path().to_string();
        let message = err.into_inner().to_string();
        let field = if path == "." {
            named_field(&message).unwrap_or("body")
        } else {
            &path
        };
        Problem::invalid(field, &message)
    })
}

/// The field that serde names when it is missing or unknown: then the path ends above it.
fn named_field(message: &str) -> Option<&str> {
    let named = message
        .strip_prefix("missing field `")
        .or_else(|| message.strip_prefix("unknown field `"))?;
    named.split('`').next()
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its parsing is looked at")]
    struct Body {
        ttl_ms: u64,
        #[serde(default)]
        labels: std::collections::BTreeMap<String, String>,
    }

    fn refusal(body: &[u8]) -> (u16, String) {
        let problem = parse::<Body>(body).unwrap_err();
        (problem.status_code().as_u16(), problem.to_string())
    }

    #[test]
    fn what_is_no_json_is_refused_with_line_and_column() {
        let (status, detail) = refusal(b"{\n  \"ttl_ms\": }");
        assert_eq!(status, 400);
        assert!(detail.contains("line 2 column 13"), "{detail}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(
            refusal(b"{\"ttl_ms\": \"\xff\"}"),
            (400, "the body is not UTF-8: byte 12 is not valid".into())
        );
    }

    #[test]
    fn a_refused_field_is_named() {
        for (body, field) in [
            (r#"{"ttl_ms": "x"}"#, "ttl_ms: "),
            (r#"{"ttl_ms": -1}"#, "ttl_ms: "),
            (r#"{}"#, "ttl_ms: missing field"),
            (r#"{"ttl_ms": 1, "tll": 2}"#, "tll: unknown field"),
            (r#"{"ttl_ms": 1, "labels": {"a": 2}}"#, "labels.a: "),
            (r#"[1]"#, "body: must be a JSON object"),
            (r#"{"ttl_ms": 1, "ttl_ms": 1}"#, "ttl_ms: is there twice"),
            (
                r#"{"labels": {"a": "x", "b": "y", "a": "x"}, "ttl_ms": 1}"#,
                "labels.a: is there twice",
            ),
            (r#"{"x": [{}, {"y": 1, "y": 2}]}"#, "x[1].y: is there twice"),
        ] {
            let (status, detail) = refusal(body.as_bytes());
            assert_eq!(status, 422, "{body}");
            assert!(detail.starts_with(field), "{body}: {detail}");
        }
    }
}
