//! `POST /messages` and what stands under `/messages/{digest}`.
//!
//! Statuses, members and texts of the two calls of the message challenge are those of it, so that
//! its clients need no change: 200 for a new message as for a known one, and 404 for every digest
//! that names none, also for what is no digest. A digest is compared as text there, so upper case
//! names none. The other calls refuse as problem+json.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use service_kit::problem::Problem;
use service_kit::query::{self, Query};

use crate::digest::Digest;
use crate::http::refusal::Refusal;
use crate::http::{Rules, admin, answer, upload};
use crate::message::{Expiry, Message};
use crate::messages::{Asker, Lookup, Messages};
use crate::store::Put;
use crate::token::Token;

/// The parameter that says how long a message is to be kept.
const TTL_MS: &str = "ttl_ms";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/messages").post(post))
        .service(
            web::resource("/messages/{digest:.*}")
                .get(get)
                .route(web::head().to(get))
                .put(put)
                .delete(admin::delete),
        );
}

async fn post(
    request: HttpRequest,
    payload: web::Payload,
    messages: Data<Messages>,
    rules: Data<Rules>,
) -> Result<HttpResponse, Refusal> {
    let expiry = expiry_in(&request, &rules)?;
    let (body, digest) = upload::read(&request, payload, messages.limit(), &rules).await?;
    let message = Message {
        digest,
        body,
        expiry,
    };
    let put = messages.keep(message).await?;
    let status = match put.outcome {
        Put::New if rules.answer_created => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    Ok(answer::digest(&request, &digest, status, &put.tokens))
}

async fn get(
    request: HttpRequest,
    messages: Data<Messages>,
    rules: Data<Rules>,
) -> Result<HttpResponse, Refusal> {
    let digest = digest_in(&request).ok_or(Refusal::NotFound)?;
    let seen = answer::seen(&request)?;
    let found = messages.look_up(&digest, asker(&request, &seen)).await?;
    match rules.told(found) {
        Lookup::Found(shown) => answer::message(&request, &shown, &rules),
        Lookup::Deleted => Err(Refusal::Deleted),
        Lookup::Expired => Err(Refusal::Expired),
        Lookup::Absent => Err(Refusal::NotFound),
    }
}

/// Keeps a message only if it has the digest that the caller expects.
async fn put(
    request: HttpRequest,
    payload: web::Payload,
    messages: Data<Messages>,
    rules: Data<Rules>,
) -> Result<HttpResponse, Problem> {
    let wanted = digest_in(&request).ok_or(Refusal::Invalid {
        field: "digest",
        allowed: "expected 64 lower-case hexadecimal digits".to_owned(),
    })?;
    Query::parse(request.query_string())?.expect_only(&[TTL_MS])?;
    let expiry = expiry_in(&request, &rules)?;
    let (body, digest) = upload::read(&request, payload, messages.limit(), &rules).await?;
    if digest != wanted {
        return Err(Refusal::Mismatch {
            found: digest.to_string(),
            wanted: wanted.to_string(),
        }
        .into());
    }
    let message = Message {
        digest,
        body,
        expiry,
    };
    let put = messages.keep(message).await.map_err(Refusal::from)?;
    let status = match put.outcome {
        Put::New => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    Ok(answer::digest(&request, &digest, status, &put.tokens))
}

/// Who calls, and what it has seen.
pub(super) fn asker<'a>(request: &HttpRequest, seen: &'a [Token]) -> Asker<'a> {
    let address = request.peer_addr().map(|peer| peer.ip());
    Asker { seen, address }
}

/// The digest in the path; `None` for what is none.
pub(super) fn digest_in(request: &HttpRequest) -> Option<Digest> {
    request.match_info().query("digest").parse().ok()
}

/// The expiry that `?ttl_ms=` asks for.
fn expiry_in(request: &HttpRequest, rules: &Rules) -> Result<Expiry, Refusal> {
    let ttl = Query::only(request.query_string(), TTL_MS);
    match ttl.map_err(|err| Refusal::Malformed(err.to_string()))? {
        None => Ok(rules.default_expiry()),
        Some(text) => expiry(query::number(&text), rules).map_err(|allowed| Refusal::Invalid {
            field: TTL_MS,
            allowed,
        }),
    }
}

/// The expiry after some milliseconds.
///
/// # Errors
///
/// Says what is allowed.
pub(super) fn expiry(ttl_ms: Option<u64>, rules: &Rules) -> Result<Expiry, String> {
    let Some(longest) = rules.max_ttl else {
        return Err("messages do not expire here: MESSAGE_HASH_MAX_TTL is not set".to_owned());
    };
    let ttl = ttl_ms.map(Duration::from_millis);
    match ttl.filter(|ttl| !ttl.is_zero() && *ttl <= longest) {
        Some(ttl) => Ok(Expiry::after(ttl)),
        None => Err(format!(
            "expected a whole number of milliseconds from 1 to {}",
            longest.as_millis()
        )),
    }
}
