//! The tentens-tech/shared-lock wire: `/lease` and `/keepalive`, with every status, body and header
//! as its clients know them.
//!
//! Its habits stay in this file and below it: any method will do, the content type is not looked
//! at, a lease id is bare text, a time that cannot be read is ten seconds. Where it was wrong and
//! no conforming client can tell, it is put right: a lost race names the real holder, an outage is
//! 503 and not a hang, what a refused request had taken is given back.

mod date;
mod go_json;

use std::{future::Future, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
    web::{self, Bytes, Data, Payload, ServiceConfig},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use service_kit::{
    body::{self, BodyError, BodyLimits},
    complaint::complain,
    duration::parse_nanos,
    request::RequestContext,
    server::{self, ServerSettings},
};
use tokio::time::timeout;
use tracing::info;

use self::go_json::LeaseBody;
use super::problem::log;
use crate::{
    lease::{Holder, LeaseId, LockKey},
    locks::{LeaseWish, Leased, Locks},
    store::StoreError,
};

/// How the tentens-tech/shared-lock wire is served, apart from what it shares with `/v1`.
#[derive(Debug, Clone, Copy)]
pub struct Compat {
    body: BodyLimits,
    patience: Duration,
    /// Whether `/debug/pprof` is served.
    pub(super) profiles: bool,
}

impl Compat {
    /// Largest body: what etcd takes in one request.
    const BODY: usize = 1536 * 1024;

    /// A call may take `patience` to be answered; `profiles` are served or not.
    pub fn new(server: &ServerSettings, patience: Duration, profiles: bool) -> Self {
        let body = BodyLimits {
            size: Self::BODY,
            time: server.read_timeout.0,
        };
        Self {
            body,
            patience,
            profiles,
        }
    }
}

const TTL_HEADER: &str = "x-lease-ttl";
const DEFAULT_TTL: Duration = Duration::from_secs(10);
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/health").to(server::livez))
        .service(web::resource("/metrics").to(server::metrics))
        .service(web::resource("/lease").to(lease))
        .service(web::resource("/keepalive").to(keep_alive));
}

async fn lease(
    request: HttpRequest,
    payload: Payload,
    locks: Data<Locks>,
    compat: Data<Compat>,
) -> HttpResponse {
    let _timer = locks.metrics().time_lease_call();
    let body = match read(&request, payload, &compat).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let Some(LeaseBody { key, value }) = go_json::parse(&body) else {
        return error_text(StatusCode::BAD_REQUEST, "Failed to unmarshal request body");
    };
    let key = match LockKey::parse_compat(key) {
        Ok(key) => key,
        Err(refused) => return error_text(StatusCode::BAD_REQUEST, &format!("key: {refused}")),
    };
    let wish = LeaseWish {
        key,
        value,
        ttl: ttl(&request),
        trace_id: RequestContext::current().map(|context| context.trace_id.to_string()),
    };
    match within(compat.patience, locks.lease(wish)).await {
        Ok(Leased::Created(holder, tenure)) => {
            let mut answer = leased(StatusCode::CREATED, Some(&holder));
            answer
                .insert_header(("x-lease-ttl-granted", format!("{}s", tenure.ttl.as_secs())))
                .insert_header(("x-fencing-token", tenure.fencing_token.to_string()))
                .body(tenure.lease_id.to_string())
        }
        Ok(Leased::Accepted(holder, lease)) => {
            let lease = lease.unwrap_or(LeaseId(0));
            leased(StatusCode::ACCEPTED, holder.as_ref()).body(lease.to_string())
        }
        Err(StoreError::Unsupported(_)) => unsupported(),
        Err(err) => {
            log(&err);
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// No store of the peers' knows less than this wire, so that their clients know no status for it: any but
/// 2xx is a failure to them.
fn unsupported() -> HttpResponse {
    let why = "This lock store does not know a lease without its lock; use /v1";
    error_text(StatusCode::NOT_IMPLEMENTED, why)
}

/// The beginning of an answer that is a lease id, with who holds, in a header that older clients
/// ignore: percent-encoded, since a header is ASCII.
fn leased(status: StatusCode, holder: Option<&Holder>) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer.insert_header((header::CONTENT_TYPE, PLAIN_TEXT));
    if let Some(holder) = holder {
        const PLAIN: &AsciiSet = &CONTROLS.add(b'%');
        let holder = utf8_percent_encode(holder.as_str(), PLAIN).to_string();
        answer.insert_header(("x-lock-holder", holder));
    }
    answer
}

async fn keep_alive(
    request: HttpRequest,
    payload: Payload,
    locks: Data<Locks>,
    compat: Data<Compat>,
) -> HttpResponse {
    let body = match read(&request, payload, &compat).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let lease = std::str::from_utf8(&body)
        .ok()
        .and_then(|id| id.parse().ok());
    let Some(lease) = lease.map(LeaseId) else {
        return HttpResponse::InternalServerError().finish();
    };
    match within(compat.patience, locks.prolong(lease)).await {
        Ok(Some(_)) => HttpResponse::Ok().finish(),
        Ok(None) => HttpResponse::NoContent()
            .insert_header((header::CONTENT_TYPE, PLAIN_TEXT))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .finish(),
        // Not 204: that would say that the lease is lost, and nobody knows.
        Err(err) => {
            log(&err);
            match err {
                StoreError::Unavailable(_) | StoreError::Timeout => {
                    HttpResponse::ServiceUnavailable()
                        .insert_header((header::RETRY_AFTER, "1"))
                        .finish()
                }
                StoreError::Refused(_) => HttpResponse::InternalServerError().finish(),
                StoreError::Unsupported(_) => unsupported(),
            }
        }
    }
}

/// The body, or the answer to a caller whose body cannot be had.
async fn read(
    request: &HttpRequest,
    payload: Payload,
    compat: &Compat,
) -> Result<Bytes, HttpResponse> {
    body::read(request, payload.into_inner(), compat.body)
        .await
        .map_err(|err| match err {
            BodyError::TooLarge(_) => {
                info!("a body was refused: {err}");
                HttpResponse::InternalServerError().finish()
            }
            BodyError::TooSlow(_) | BodyError::Broken(_) => {
                error_text(StatusCode::BAD_REQUEST, "Failed to read request body")
            }
        })
}

/// The time asked for, in whole seconds, the rest dropped. What cannot be read is ten seconds, a
/// bare number too: so it has always been, and clients rely on it.
fn ttl(request: &HttpRequest) -> Duration {
    let Some(value) = request.headers().get(TTL_HEADER) else {
        return DEFAULT_TTL;
    };
    let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
    let Some(nanos) = parse_nanos(text) else {
        // The caller's own words: not every one of them is worth a line.
        let why = format!(
            "it is {value:?}, taken as {DEFAULT_TTL:?}, as anything that is no duration of at most 292 years in Go's syntax, such as `60s`"
        );
        complain(TTL_HEADER, why);
        return DEFAULT_TTL;
    };
    Duration::from_secs(u64::try_from(nanos / 1_000_000_000).unwrap_or(0))
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(patience, answer)
        .await
        .unwrap_or(Err(StoreError::Timeout))
}

/// An error as Go's `http.Error` writes it.
pub(super) fn error_text(status: StatusCode, text: &str) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, PLAIN_TEXT))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(format!("{text}\n"))
}
