//! `POST /messages` and `GET /messages/{digest}`.
//!
//! Statuses, members and texts are those of the message challenge, so that its clients need no
//! change: 200 for a new message as for a known one, and 404 for every digest that names none,
//! also for what is no digest. A digest is compared as text there, so upper case names none.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use service_kit::body::{self, BodyLimits};

use crate::digest::Digest;
use crate::http::refusal::Refusal;
use crate::messages::Messages;

/// The longest form of one byte in a JSON string: `\u0000`.
const LONGEST_ESCAPE: usize = 6;

/// Room for the rest of the body: braces, the name, spaces.
const REST_OF_BODY: usize = 1024;

/// How long a body may take to arrive.
pub(super) struct Patience(pub(super) Duration);

/// The body of a post. Other members are ignored, as in the challenge.
#[derive(Deserialize)]
#[serde(expecting = "an object with the string `message`")]
struct PostBody<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/messages").post(post))
        .service(web::resource("/messages/{digest:.*}").get(get));
}

async fn post(
    request: HttpRequest,
    payload: web::Payload,
    messages: Data<Messages>,
    patience: Data<Patience>,
) -> Result<HttpResponse, Refusal> {
    expect_json(&request)?;
    let limits = BodyLimits {
        size: longest_body(messages.limit()),
        time: patience.0,
    };
    let body = body::read(&request, payload.into_inner(), limits).await?;
    let message = message_in(&body)?;
    let digest = messages.keep(&message).await?;
    Ok(json(format!(r#"{{"digest": "{digest}"}}"#)))
}

/// Bytes that a body may have, whatever the limit of its message is.
fn longest_body(message: usize) -> usize {
    message
        .saturating_mul(LONGEST_ESCAPE)
        .saturating_add(REST_OF_BODY)
}

async fn get(request: HttpRequest, messages: Data<Messages>) -> Result<HttpResponse, Refusal> {
    let digest: Digest = request
        .match_info()
        .query("digest")
        .parse()
        .map_err(|_| Refusal::NotFound)?;
    let message = messages.look_up(&digest).await?.ok_or(Refusal::NotFound)?;
    let message = serde_json::Value::String(message);
    Ok(json(format!(r#"{{"message": {message}}}"#)))
}

/// The answers have a space behind the colon, as in the published transcripts: somebody may
/// compare them as text.
fn json(body: String) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(body)
}

fn expect_json(request: &HttpRequest) -> Result<(), Refusal> {
    let value = |name| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or("?"))
    };
    let found = value(header::CONTENT_TYPE).unwrap_or_default();
    let essence = found.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::unsupported(
            "content type",
            found,
            "application/json",
        ));
    }
    match value(header::CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(found) => Err(Refusal::unsupported("content encoding", found, "identity")),
    }
}

fn message_in(body: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|err| {
        Refusal::Malformed(format!(
            "the body is not UTF-8: byte {} is not valid",
            err.valid_up_to()
        ))
    })?;
    // serde takes an array for a struct as well.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Refusal::Malformed(
            "the body is not a JSON object".to_owned(),
        ));
    }
    match serde_json::from_str::<PostBody<'_>>(text) {
        Ok(body) => Ok(body.message),
        Err(err) if err.is_data() => Err(Refusal::Malformed(format!("message: {err}"))),
        Err(err) => Err(Refusal::Malformed(format!(
            "the body is not valid JSON: {err}"
        ))),
    }
}
