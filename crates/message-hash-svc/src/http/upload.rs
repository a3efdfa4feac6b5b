//! From the body of a request to the bytes of a message.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use actix_web::web::{self, Bytes};
use percent_encoding::percent_decode;
use serde::Deserialize;
use service_kit::body::{self, BodyLimits, MediaType};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::digest::{Digest, Hasher};
use crate::http::Rules;
use crate::http::refusal::Refusal;

/// The longest form of one byte in a JSON string: `\u0000`.
const LONGEST_ESCAPE: usize = 6;

/// The longest form of one byte in a form: `%00`.
const LONGEST_PERCENT: usize = 3;

/// Room for the rest of the body: braces, the name, spaces.
const REST_OF_BODY: usize = 1024;

/// What can be posted.
const MEDIA_TYPES: &str =
    "application/json, text/plain, application/octet-stream or application/x-www-form-urlencoded";

/// How the body holds the message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Form,
    Text,
    Octets,
}

/// The body of a post. Other members are ignored, as in the challenge.
#[derive(Deserialize)]
#[serde(expecting = "an object with the string `message`")]
struct PostBody<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// Reads the message that a request carries, and its digest.
///
/// What is the message itself is hashed while it arrives.
pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
    rules: &Rules,
) -> Result<(Bytes, Digest), Refusal> {
    let kind = kind_of(request)?;
    let limits = BodyLimits {
        size: match kind {
            Kind::Json => longest_body(limit, LONGEST_ESCAPE),
            Kind::Form => longest_body(limit, LONGEST_PERCENT),
            Kind::Text | Kind::Octets => limit,
        },
        time: rules.read_timeout,
    };
    let promised = promised_digest(request)?;
    let mut hasher = Hasher::default();
    let is_needed = promised.is_some() || matches!(kind, Kind::Text | Kind::Octets);
    let see = |piece: &[u8]| {
        if is_needed {
            hasher.update(piece);
        }
    };
    let body = body::read_with(request, payload.into_inner(), limits, see).await?;
    let digest = hasher.finish();
    if let Some(promised) = promised.filter(|promised| *promised != digest) {
        return Err(Refusal::Mismatch {
            found: digest.to_string(),
            wanted: promised.to_string(),
        });
    }
    let message = match kind {
        Kind::Octets => return Ok((body, digest)),
        Kind::Text => {
            expect_utf8(&body)?;
            return Ok((body, digest));
        }
        Kind::Json => Bytes::copy_from_slice(message_in(&body)?.as_bytes()),
        Kind::Form => field_in(&body)?,
    };
    let digest = Digest::of(&message);
    Ok((message, digest))
}

/// Bytes that a body may have, whatever the limit of its message is.
fn longest_body(message: usize, longest_byte: usize) -> usize {
    message
        .saturating_mul(longest_byte)
        .saturating_add(REST_OF_BODY)
}

fn kind_of(request: &HttpRequest) -> Result<Kind, Refusal> {
    let media = MediaType::of(request)?;
    match media.essence() {
        "application/json" => Ok(Kind::Json),
        "application/x-www-form-urlencoded" => Ok(Kind::Form),
        "application/octet-stream" => Ok(Kind::Octets),
        "text/plain" => Ok(Kind::Text),
        _ => Err(media.refused(MEDIA_TYPES).into()),
    }
}

/// SHA-256 of the body as `Content-Digest` tells it, a dictionary over all its lines (RFC 9530, RFC
/// 9651); other algorithms are not looked at.
fn promised_digest(request: &HttpRequest) -> Result<Option<Digest>, Refusal> {
    let malformed = || {
        Refusal::Malformed("Content-Digest: expected `sha-256=:…:` with 32 bytes in base64".into())
    };
    let lines = request.headers().get_all("content-digest");
    let lines: Vec<_> = lines.map(HeaderValue::as_bytes).collect();
    let members: Dictionary = Parser::new(&lines.join(&b", "[..]))
        .parse()
        .map_err(|_| malformed())?;
    let digest = match members.get("sha-256") {
        None => return Ok(None),
        Some(ListEntry::Item(item)) => match &item.bare_item {
            BareItem::ByteSequence(bytes) => Digest::from_bytes(bytes),
            _ => None,
        },
        Some(ListEntry::InnerList(_)) => None,
    };
    digest.map(Some).ok_or_else(malformed)
}

fn expect_utf8(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|err| {
        Refusal::Malformed(format!(
            "the body is not UTF-8: byte {} is not valid",
            err.valid_up_to()
        ))
    })
}

fn message_in(body: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    let text = expect_utf8(body)?;
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

/// The field `message` of a form, its bytes as they are: a lossy decoder would change them.
fn field_in(body: &[u8]) -> Result<Bytes, Refusal> {
    let mut values = body.split(|byte| *byte == b'&').filter_map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let is_message = form_decoded(parts.next()?) == b"message";
        is_message.then(|| parts.next().unwrap_or_default())
    });
    let refuse = |what: &str| Err(Refusal::Malformed(format!("message: {what}")));
    match (values.next(), values.next()) {
        (None, _) => refuse("the form has no field `message`"),
        (Some(_), Some(_)) => refuse("the form has the field `message` twice"),
        (Some(value), None) => Ok(form_decoded(value).into()),
    }
}

/// Bytes of a form without their percent signs; a plus is a space.
fn form_decoded(part: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = part
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_decode(&spaced).collect()
}
