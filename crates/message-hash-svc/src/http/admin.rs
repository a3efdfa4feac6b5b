//! What only the administrator may do.

use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret;
use serde::Deserialize;
use service_kit::problem::Problem;

use crate::digest::Digest;
use crate::http::Rules;
use crate::http::messages::digest_in;
use crate::http::refusal::Refusal;
use crate::messages::Messages;

/// How a message is to be deleted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deletion {
    /// Whether it may not be kept again.
    #[serde(default)]
    block: bool,
}

/// `DELETE /messages/{digest}`; deleting again is no error.
pub(super) async fn delete(
    request: HttpRequest,
    query: web::Query<Deletion>,
    messages: Data<Messages>,
    rules: Data<Rules>,
) -> Result<HttpResponse, Problem> {
    expect_admin(&request, &rules)?;
    let digest = digest_in(&request).ok_or(Refusal::NotFound)?;
    let deleted = messages.delete(&digest, query.block).await;
    if deleted.map_err(Refusal::from)? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Refusal::NotFound.into())
    }
}

/// Lets only the administrator pass.
pub(super) fn expect_admin(request: &HttpRequest, rules: &Rules) -> Result<(), Refusal> {
    let key = rules.admin_key.as_ref().ok_or(Refusal::AdminOff)?;
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default();
    // Digests, so that the time of the comparison says nothing about the key.
    let is_right = Digest::of(given.as_bytes()) == Digest::of(key.expose_secret().as_bytes());
    is_right.then_some(()).ok_or(Refusal::Unauthorized)
}
