//! A message as an answer: its form, what is already known, a part of it.

use actix_web::http::header::HeaderValue;
use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::digest::Digest;
use crate::http::Rules;
use crate::http::accept::{self, Form};
use crate::http::refusal::Refusal;
use crate::message::{Expiry, Shown};
use crate::token::Token;

/// Where a write stands in the log of its shard.
const CONSISTENCY_TOKEN: &str = "consistency-token";

/// A year, which counts as for good.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// The message in the form that the caller likes best; 304 when it is known, 206 for a part.
pub(super) fn message(
    request: &HttpRequest,
    shown: &Shown,
    rules: &Rules,
) -> Result<HttpResponse, Refusal> {
    let is_text = shown.json.is_some();
    let form = accept::best(request, |form| form == Form::Octets || is_text)
        .ok_or_else(|| not_acceptable(is_text))?;
    let tag = entity_tag(&shown.digest, form);
    if is_known(request, &tag) {
        let mut response = HttpResponse::NotModified();
        describe(&mut response, &tag, shown, rules);
        return Ok(response.finish());
    }
    let (body, digest) = match (&shown.json, form) {
        (Some((json, digest)), Form::Json) => (json, digest),
        _ => (&shown.body, &shown.digest),
    };
    let range = match form {
        Form::Json => None,
        Form::Text | Form::Octets => wanted_range(request, body.len(), &tag)?,
    };
    let part = range.map(|(from, to)| (from, to, body.slice(from..to)));
    let status = if part.is_some() {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    let mut response = HttpResponse::build(status);
    describe(&mut response, &tag, shown, rules);
    response.insert_header((header::CONTENT_TYPE, form.content_type()));
    if form != Form::Json {
        response.insert_header((header::ACCEPT_RANGES, "bytes"));
        response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    }
    if let Some((from, to, part)) = part {
        let place = format!("bytes {from}-{}/{}", to - 1, body.len());
        response.insert_header((header::CONTENT_RANGE, place));
        return Ok(finish(response, part.clone(), &Digest::of(&part)));
    }
    Ok(finish(response, body.clone(), digest))
}

/// The digest of a message that was kept, in the form that the caller likes best.
pub(super) fn digest(
    request: &HttpRequest,
    digest: &Digest,
    status: StatusCode,
    tokens: &[Token],
) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    place(&mut response, tokens);
    if status == StatusCode::CREATED {
        response.insert_header((header::LOCATION, format!("/messages/{digest}")));
    }
    // Octets would be the 32 bytes, which nobody asked for: JSON is what everybody understands.
    match accept::best(request, |form| form != Form::Octets) {
        Some(Form::Text) => response
            .content_type(Form::Text.content_type())
            .body(digest.to_string()),
        _ => json(response, format!(r#"{{"digest": "{digest}"}}"#)),
    }
}

/// Tells where a write stands, for who wants to read it back wherever the next call goes.
pub(super) fn place(response: &mut HttpResponseBuilder, tokens: &[Token]) {
    for token in tokens {
        response.append_header((CONSISTENCY_TOKEN, token.to_string()));
    }
}

/// The places that a caller has seen.
pub(super) fn seen(request: &HttpRequest) -> Result<Vec<Token>, Refusal> {
    let values = request.headers().get_all(CONSISTENCY_TOKEN);
    let texts = values.flat_map(|value| value.to_str().unwrap_or("?").split(','));
    texts
        .map(|text| text.parse::<Token>())
        .collect::<Result<_, _>>()
        .map_err(|err| Refusal::Malformed(format!("Consistency-Token: {err}")))
}

/// The answers have a space behind the colon, as in the published transcripts: somebody may
/// compare them as text.
pub(super) fn json(mut response: HttpResponseBuilder, body: String) -> HttpResponse {
    response.content_type(Form::Json.content_type()).body(body)
}

/// Strong, and different for each form, since their bytes are.
fn entity_tag(digest: &Digest, form: Form) -> String {
    match form {
        Form::Octets => format!("\"{digest}\""),
        Form::Json => format!("\"{digest}-json\""),
        Form::Text => format!("\"{digest}-text\""),
    }
}

fn describe(response: &mut HttpResponseBuilder, tag: &str, shown: &Shown, rules: &Rules) {
    response.insert_header((header::ETAG, tag));
    response.insert_header((header::VARY, "Accept"));
    let cache = if rules.is_immutable() {
        FOR_GOOD.to_owned()
    } else if rules.admin_key.is_some() {
        // It may be deleted any time.
        "no-cache".to_owned()
    } else {
        match shown.expiry {
            Expiry::At(moment) => format!("public, max-age={}", moment.remaining().as_secs()),
            Expiry::Never => "public, max-age=31536000".to_owned(),
        }
    };
    response.insert_header((header::CACHE_CONTROL, cache));
}

fn finish(mut response: HttpResponseBuilder, body: Bytes, digest: &Digest) -> HttpResponse {
    let digest = BASE64_STANDARD.encode(digest.as_bytes());
    response.insert_header(("content-digest", format!("sha-256=:{digest}:")));
    response.body(body)
}

/// Whether `If-None-Match` names what would be sent. It compares weakly (RFC 9110 §13.1.2); a list that
/// is not well-formed names nothing.
fn is_known(request: &HttpRequest, tag: &str) -> bool {
    let lines = request.headers().get_all(header::IF_NONE_MATCH);
    let lines: Vec<_> = lines.map(HeaderValue::as_bytes).collect();
    let list = lines.join(&b","[..]);
    list.trim_ascii() == b"*" || opaque_tags(&list).contains(&tag.as_bytes())
}

/// The tags of a list, in their quotes, where a comma means nothing (RFC 9110 §8.8.3).
fn opaque_tags(list: &[u8]) -> Vec<&[u8]> {
    let (mut tags, mut rest) = (Vec::new(), list);
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after;
            continue;
        }
        let Some(tag) = rest
            .strip_prefix(b"W/")
            .or(Some(rest))
            .filter(|it| it.starts_with(b"\""))
        else {
            break;
        };
        let Some(end) = tag[1..].iter().position(|byte| *byte == b'"') else {
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let after = after.trim_ascii_start();
        if !(after.is_empty() || after.starts_with(b",")) {
            break;
        }
        tags.push(tag);
        rest = after;
    }
    match rest {
        [] => tags,
        _ => Vec::new(),
    }
}

/// The one range that is asked for, as `from..to`. Whatever is not one range of bytes is answered
/// as a whole, as RFC 9110 §14.2 allows.
fn wanted_range(
    request: &HttpRequest,
    size: usize,
    tag: &str,
) -> Result<Option<(usize, usize)>, Refusal> {
    let header = |name| {
        let mut lines = request.headers().get_all(name);
        let line = lines.next()?.to_str().ok();
        line.filter(|_| lines.next().is_none())
    };
    if request.headers().contains_key(header::IF_RANGE) && header(header::IF_RANGE) != Some(tag) {
        return Ok(None);
    }
    let range = header(header::RANGE)
        .and_then(|range| range.split_once('='))
        .filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"))
        .and_then(|(_, range)| range.trim().split_once('-'));
    // A position beyond all that fits into memory is one behind the end.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    match range {
        Some(("", last)) => match number(last) {
            None => Ok(None),
            Some(last) if last == 0 || size == 0 => Err(Refusal::Range { size }),
            Some(last) => Ok(Some((size.saturating_sub(last), size))),
        },
        Some((first, last)) => {
            let end = if last.is_empty() {
                Some(size)
            } else {
                number(last).map(|last| last.saturating_add(1).min(size))
            };
            match (number(first), end) {
                (Some(first), Some(_)) if first >= size => Err(Refusal::Range { size }),
                (Some(first), Some(end)) if first < end => Ok(Some((first, end))),
                _ => Ok(None),
            }
        }
        None => Ok(None),
    }
}

fn not_acceptable(is_text: bool) -> Refusal {
    Refusal::NotAcceptable(if is_text {
        "what is accepted: application/json, text/plain and application/octet-stream can be had"
    } else {
        "text: its bytes are no UTF-8, and only application/octet-stream can be had"
    })
}
