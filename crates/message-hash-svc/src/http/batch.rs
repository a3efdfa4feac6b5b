//! `POST /messages:batch`: several messages put, got and asked for by one call.

use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use service_kit::body::{self, BodyLimits};
use service_kit::problem::Problem;
use service_kit::query::Query;

use crate::digest::Digest;
use crate::http::Rules;
use crate::http::answer;
use crate::http::messages::{asker, expiry};
use crate::http::refusal::Refusal;
use crate::message::{Message, Shown};
use crate::messages::{Asker, Lookup, MessageError, Messages};
use crate::store::Put;
use crate::token::Written;

/// Entries of one batch, of all kinds together.
const MOST_ENTRIES: usize = 1000;

/// Messages that are looked up at once.
const AT_ONCE: usize = 16;

/// What is to be done: first the puts, by one commit, then the rest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    #[serde(default)]
    put: Vec<PutEntry>,
    #[serde(default)]
    get: Vec<String>,
    #[serde(default)]
    exists: Vec<String>,
}

/// A message, as text or as bytes, and the digest that it is expected to have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutEntry {
    message: Option<String>,
    message_base64: Option<String>,
    digest: Option<String>,
    ttl_ms: Option<u64>,
}

#[derive(Serialize)]
struct BatchBody {
    put: Vec<PutBody>,
    get: Vec<GetBody>,
    exists: Vec<ExistsBody>,
}

#[derive(Serialize)]
struct PutBody {
    digest: String,
    /// `new`, `known`, or `blocked`, which was not kept.
    outcome: &'static str,
}

#[derive(Serialize)]
struct GetBody {
    digest: String,
    /// `found`, `missing`, `deleted`, `expired`, `damaged`, or `too-large`: to be got alone.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_base64: Option<String>,
}

#[derive(Serialize)]
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
    let batch = read(&request, payload, &rules).await?;
    let puts = batch.put.into_iter().enumerate();
    let puts = puts
        .map(|(place, entry)| message_of(place, entry, &rules))
        .collect::<Result<Vec<_>, _>>()?;
    let gets = digests("get", &batch.get)?;
    let asked = digests("exists", &batch.exists)?;
    let Written { outcome, tokens } = put_all(puts, &messages).await?;
    let looking = Looking {
        messages: &messages,
        rules: &rules,
        asker: asker(&request, &[]),
    };
    let body = BatchBody {
        put: outcome,
        get: looking.get_all(&gets).await?,
        exists: looking.ask_all(&asked).await?,
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
    let batch: Batch = body::parse(&body)?;
    let entries = batch.put.len() + batch.get.len() + batch.exists.len();
    if entries > MOST_ENTRIES {
        return Err(Problem::invalid(
            "body",
            format!("expected up to {MOST_ENTRIES} entries, found {entries}"),
        ));
    }
    Ok(batch)
}

fn message_of(place: usize, entry: PutEntry, rules: &Rules) -> Result<Message, Problem> {
    let invalid =
        |field: &str, allowed: &str| Problem::invalid(&format!("put[{place}].{field}"), allowed);
    let body = match (entry.message, entry.message_base64) {
        (Some(text), None) => Bytes::from(text),
        (None, Some(base64)) => BASE64_STANDARD
            .decode(base64)
            .map_err(|_| invalid("message_base64", "expected base64 with padding"))?
            .into(),
        _ => {
            return Err(invalid(
                "message",
                "expected either `message` or `message_base64`",
            ));
        }
    };
    let digest = Digest::of(&body);
    let expected = entry.digest.map(|text| digest_of(&text)).transpose();
    let expected =
        expected.map_err(|()| invalid("digest", "expected 64 lower-case hexadecimal digits"))?;
    if let Some(wanted) = expected.filter(|wanted| *wanted != digest) {
        return Err(Refusal::Mismatch {
            found: digest.to_string(),
            wanted: wanted.to_string(),
        }
        .into());
    }
    let expiry = match entry.ttl_ms {
        None => rules.default_expiry(),
        Some(ttl_ms) => expiry(Some(ttl_ms), rules)?,
    };
    Ok(Message {
        digest,
        body,
        expiry,
    })
}

fn digests(field: &str, texts: &[String]) -> Result<Vec<Digest>, Problem> {
    let all = texts.iter().enumerate().map(|(place, text)| {
        digest_of(text).map_err(|()| {
            Problem::invalid(
                &format!("{field}[{place}]"),
                "expected 64 lower-case hexadecimal digits",
            )
        })
    });
    all.collect()
}

fn digest_of(text: &str) -> Result<Digest, ()> {
    text.parse().map_err(|_| ())
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
