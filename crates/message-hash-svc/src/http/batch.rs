//! `POST /messages:batch`: several messages put, got and asked for by one call.

mod reading;

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use serde::Serialize;
use service_kit::body::{self, BodyLimits};
use service_kit::problem::Problem;
use service_kit::query::Query;
use utoipa::ToSchema;

use self::reading::Batch;
use crate::digest::Digest;
use crate::http::Rules;
use crate::http::answer;
use crate::http::messages::asker;
use crate::http::refusal::Refusal;
use crate::message::{Message, Shown};
use crate::messages::{Asker, Lookup, MessageError, Messages};
use crate::store::Put;
use crate::token::Written;

/// Messages that are looked up at once.
const AT_ONCE: usize = 16;

#[derive(Serialize, ToSchema)]
#[schema(as = BatchAnswer)]
pub(super) struct BatchBody {
    put: Vec<PutBody>,
    get: Vec<GetBody>,
    exists: Vec<ExistsBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PutOutcome)]
struct PutBody {
    digest: String,
    /// `new`, `known`, or `blocked`, which was not kept.
    outcome: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = GetOutcome)]
struct GetBody {
    digest: String,
    /// `found`, `missing`, `deleted`, `expired`, `damaged`, or `too-large`: to be got alone.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_base64: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Exists)]
struct ExistsBody {
    digest: String,
    exists: bool,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(web::resource("/messages:batch").post(batch));
}

async fn batch(
    request: HttpRequest,
    payload: web::Payload,
    messages: Data<Messages>,
    rules: Data<Rules>,
) -> Result<HttpResponse, Problem> {
    let Batch { put, get, exists } = read(&request, payload, &rules).await?;
    let Written { outcome, tokens } = put_all(put, &messages).await?;
    let looking = Looking {
        messages: &messages,
        rules: &rules,
        asker: asker(&request, &[]),
    };
    let body = BatchBody {
        put: outcome,
        get: looking.get_all(&get).await?,
        exists: looking.ask_all(&exists).await?,
    };
    let mut response = HttpResponse::Ok();
    answer::place(&mut response, &tokens);
    Ok(response.json(body))
}

async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    rules: &Rules,
) -> Result<Batch, Problem> {
    Query::expect_none(request.query_string())?;
    body::expect_json(request)?;
    let limits = BodyLimits {
        size: rules.batch_limit,
        time: rules.read_timeout,
    };
    let body = body::read(request, payload.into_inner(), limits).await?;
    reading::parse(body::parse(&body)?, rules)
}

async fn put_all(
    puts: Vec<Message>,
    messages: &Messages,
) -> Result<Written<Vec<PutBody>>, Problem> {
    if puts.is_empty() {
        return Ok(Written::alone(Vec::new()));
    }
    let digests: Vec<Digest> = puts.iter().map(|message| message.digest).collect();
    let written = messages.keep_all(puts).await.map_err(Refusal::from)?;
    let bodies = digests
        .iter()
        .zip(written.outcome)
        .map(|(digest, put)| PutBody {
            digest: digest.to_string(),
            outcome: match put {
                Put::New => "new",
                Put::Known | Put::Mended => "known",
                Put::Blocked => "blocked",
            },
        });
    Ok(Written {
        outcome: bodies.collect(),
        tokens: written.tokens,
    })
}

/// A caller that looks up several messages.
struct Looking<'a> {
    messages: &'a Messages,
    rules: &'a Rules,
    asker: Asker<'a>,
}

impl Looking<'_> {
    async fn get_all(&self, digests: &[Digest]) -> Result<Vec<GetBody>, Problem> {
        let mut left = self.rules.batch_limit;
        let mut bodies = Vec::with_capacity(digests.len());
        // A few at once, so that what is looked up and does not fit is little.
        for some in digests.chunks(AT_ONCE) {
            for (digest, lookup) in some.iter().zip(self.look_up(some).await) {
                bodies.push(got(digest, lookup, &mut left)?);
            }
        }
        Ok(bodies)
    }

    async fn ask_all(&self, digests: &[Digest]) -> Result<Vec<ExistsBody>, Problem> {
        let mut bodies = Vec::with_capacity(digests.len());
        for some in digests.chunks(AT_ONCE) {
            for (digest, lookup) in some.iter().zip(self.look_up(some).await) {
                bodies.push(ExistsBody {
                    digest: digest.to_string(),
                    exists: matches!(lookup.map_err(Refusal::from)?, Lookup::Found(_)),
                });
            }
        }
        Ok(bodies)
    }

    async fn look_up(&self, digests: &[Digest]) -> Vec<Result<Lookup, MessageError>> {
        let lookups = digests.iter().map(|digest| async {
            let found = self.messages.look_up(digest, self.asker).await?;
            Ok(self.rules.told(found))
        });
        join_all(lookups).await
    }
}

fn got(
    digest: &Digest,
    lookup: Result<Lookup, MessageError>,
    left: &mut usize,
) -> Result<GetBody, Problem> {
    let mut body = GetBody {
        digest: digest.to_string(),
        outcome: "missing",
        message: None,
        message_base64: None,
    };
    match lookup {
        Ok(Lookup::Found(shown)) => show(&shown, &mut body, left),
        Ok(Lookup::Deleted) => body.outcome = "deleted",
        Ok(Lookup::Expired) => body.outcome = "expired",
        Ok(Lookup::Absent) => (),
        Err(MessageError::Damaged(_)) => body.outcome = "damaged",
        Err(fault) => return Err(Refusal::from(fault).into()),
    }
    Ok(body)
}

fn show(shown: &Shown, body: &mut GetBody, left: &mut usize) {
    let Some(rest) = left.checked_sub(shown.body.len()) else {
        body.outcome = "too-large";
        return;
    };
    *left = rest;
    body.outcome = "found";
    match std::str::from_utf8(&shown.body) {
        Ok(text) => body.message = Some(text.to_owned()),
        Err(_) => body.message_base64 = Some(BASE64_STANDARD.encode(&shown.body)),
    }
}
