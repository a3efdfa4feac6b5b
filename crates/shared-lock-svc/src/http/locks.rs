//! `/v1/locks`: take, keep, give back and look at a lock.

use std::{
    future::{Ready, ready},
    time::{Duration, Instant},
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    web::{self, Data, ServiceConfig},
};
use serde::{Deserialize, Serialize};
use service_kit::{
    body::Json,
    problem::{INVALID, Problem},
};

use super::{
    key::KeyPath,
    problem::{REQUEST_ENDED, REQUEST_KNOWN, held},
};
use crate::{
    lease::{
        AcquireRequest, Acquisition, Anchor, Claim, FencingToken, Holder, HolderView, LeaseId,
        LockKey, LockView, Metadata, Mode, RequestId, Tenure, WaiterView,
    },
    locks::Locks,
    store::Release,
};

/// A key is one segment, `/` in it is `%2F`; the empty one is let in to be refused by name.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/v1/locks/{key:[^/]*}/acquire").post(acquire))
        .service(web::resource("/v1/locks/{key:[^/]*}/keepalive").post(keep_alive))
        .service(web::resource("/v1/locks/{key:[^/]*}/release").post(release))
        .service(web::resource("/v1/locks/{key:[^/]*}").get(inspect));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcquireBody {
    holder: Holder,
    ttl_ms: u64,
    #[serde(default)]
    wait_ms: u64,
    request_id: Option<RequestId>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Serialize)]
struct AcquiredBody {
    key: LockKey,
    request_id: RequestId,
    lease_id: LeaseId,
    holder: Holder,
    mode: &'static str,
    fencing_token: FencingToken,
    token_epoch: String,
    ttl_ms: u64,
    remaining_ms: u64,
    elapsed_ms: u64,
}

async fn acquire(
    arrival: Arrival,
    locks: Data<Locks>,
    KeyPath(key): KeyPath,
    Json(body): Json<AcquireBody>,
) -> Result<HttpResponse, Problem> {
    let request = AcquireRequest {
        key,
        value: body.holder.as_str().to_owned(),
        holder: body.holder,
        anchor: Anchor::Own(Duration::from_millis(body.ttl_ms)),
        mode: Mode::Exclusive,
        lock_delay: Duration::ZERO,
        trace_id: None,
        wait: Duration::from_millis(body.wait_ms),
        request_id: body.request_id.unwrap_or_else(RequestId::random),
        metadata: body.metadata,
    };
    // Asked for first: what is left of the lease is counted up to the answer.
    let epoch = locks.token_epoch().await?;
    match locks.acquire(request.clone()).await? {
        Acquisition::Acquired(tenure) => {
            let body = acquired(request, &tenure, epoch, arrival);
            Ok(HttpResponse::Created().json(body))
        }
        Acquisition::Held(lock) => Err(held(&lock)),
        Acquisition::RequestKnown => Err(Problem::new(
            &REQUEST_KNOWN,
            "this request id already holds this lock, or waits for it at another replica",
        )),
        Acquisition::SessionGone | Acquisition::Deadlock(_) => {
            Err(Problem::new(&REQUEST_ENDED, "this request has no session"))
        }
        Acquisition::RequestEnded => Err(Problem::new(
            &REQUEST_ENDED,
            "this request id has ended and gets nothing any more",
        )),
    }
}

fn acquired(
    request: AcquireRequest,
    tenure: &Tenure,
    token_epoch: &str,
    arrival: Arrival,
) -> AcquiredBody {
    AcquiredBody {
        key: request.key,
        request_id: request.request_id,
        lease_id: tenure.lease_id,
        holder: request.holder,
        mode: EXCLUSIVE,
        fencing_token: tenure.fencing_token,
        token_epoch: token_epoch.to_owned(),
        ttl_ms: millis(tenure.ttl),
        remaining_ms: millis(tenure.remaining),
        elapsed_ms: millis(arrival.0.elapsed()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeepAliveBody {
    lease_id: LeaseId,
}

#[derive(Serialize)]
struct KeptAliveBody {
    lease_id: LeaseId,
    ttl_ms: u64,
    remaining_ms: u64,
}

async fn keep_alive(
    locks: Data<Locks>,
    KeyPath(key): KeyPath,
    Json(body): Json<KeepAliveBody>,
) -> Result<HttpResponse, Problem> {
    let renewal = locks.keep_alive(&key, body.lease_id).await?;
    Ok(HttpResponse::Ok().json(KeptAliveBody {
        lease_id: body.lease_id,
        ttl_ms: millis(renewal.ttl),
        remaining_ms: millis(renewal.remaining),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseBody {
    lease_id: Option<LeaseId>,
    fencing_token: Option<FencingToken>,
    request_id: Option<RequestId>,
}

#[derive(Serialize)]
struct ReleasedBody {
    released: bool,
}

async fn release(
    locks: Data<Locks>,
    KeyPath(key): KeyPath,
    Json(body): Json<ReleaseBody>,
) -> Result<HttpResponse, Problem> {
    let released = locks.release(&key, body.parse()?).await?;
    Ok(HttpResponse::Ok().json(ReleasedBody { released }))
}

impl ReleaseBody {
    /// A tenure by both its numbers, or a request by its id; nothing in between.
    fn parse(self) -> Result<Release, Problem> {
        let missing = |fields: &[&str]| {
            let sentence = "a release takes `lease_id` and `fencing_token`, or `request_id` alone";
            fields
                .iter()
                .fold(Problem::new(&INVALID, sentence), |problem, field| {
                    problem.field(field, sentence)
                })
        };
        let release_of = |claim| Release {
            claim,
            note: None,
            trace_id: None,
        };
        match (self.lease_id, self.fencing_token, self.request_id) {
            (Some(lease_id), Some(fencing_token), None) => Ok(release_of(Claim::Tenure {
                lease_id,
                fencing_token,
            })),
            (None, None, Some(request)) => Ok(release_of(Claim::Request(request))),
            (Some(_), None, None) => Err(missing(&["fencing_token"])),
            (None, Some(_), None) => Err(missing(&["lease_id"])),
            (None, None, None) => Err(missing(&["lease_id", "fencing_token", "request_id"])),
            (_, _, Some(_)) => Err(missing(&["request_id"])),
        }
    }
}

#[derive(Serialize)]
struct LockBody {
    key: LockKey,
    holders: Vec<HolderBody>,
    waiters: Vec<WaiterBody>,
}

#[derive(Serialize)]
struct HolderBody {
    holder: Option<Holder>,
    mode: &'static str,
    fencing_token: FencingToken,
    token_epoch: String,
    held_ms: Option<u64>,
    ttl_ms: Option<u64>,
    remaining_ms: Option<u64>,
    metadata: Metadata,
}

#[derive(Serialize)]
struct WaiterBody {
    holder: Holder,
    waiting_ms: Option<u64>,
}

async fn inspect(locks: Data<Locks>, KeyPath(key): KeyPath) -> Result<HttpResponse, Problem> {
    let LockView { holders, waiters } = locks.inspect(&key).await?;
    let epoch = locks.token_epoch().await?;
    Ok(HttpResponse::Ok().json(LockBody {
        key,
        holders: holders
            .into_iter()
            .map(|holder| holder_body(holder, epoch))
            .collect(),
        waiters: waiters.into_iter().map(waiter_body).collect(),
    }))
}

fn holder_body(holder: HolderView, epoch: &str) -> HolderBody {
    HolderBody {
        holder: holder.holder,
        mode: EXCLUSIVE,
        fencing_token: holder.fencing_token,
        token_epoch: epoch.to_owned(),
        held_ms: holder.held_for.map(millis),
        ttl_ms: holder.ttl.map(millis),
        remaining_ms: holder.remaining.map(millis),
        metadata: holder.metadata,
    }
}

fn waiter_body(waiter: WaiterView) -> WaiterBody {
    WaiterBody {
        holder: waiter.holder,
        waiting_ms: waiter.waiting_for.map(millis),
    }
}

/// The one mode there is so far.
const EXCLUSIVE: &str = "exclusive";

/// When a request arrived, before its body was read.
#[derive(Clone, Copy)]
struct Arrival(Instant);

impl FromRequest for Arrival {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(Instant::now())))
    }
}

/// Whole milliseconds, as the wire has them.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
