//! Keeping a lock, giving it back, and asking whether it is still one's own.

use std::collections::HashMap;

use actix_web::{
    HttpResponse,
    web::{Data, ServiceConfig},
};
use futures_util::future::{join, join_all};
use serde::Serialize;
use service_kit::problem::Problem;
use utoipa::ToSchema;

use super::{
    bodies::millis,
    call::Call,
    fields::Fields,
    on_lock, post,
    problem::{LEASE_NOT_FOUND, STORE_UNAVAILABLE},
};
use crate::{
    lease::{Claim, FencingToken, LeaseId, LockKey, Note, RequestId},
    locks::{LockError, Locks},
    store::{Release, Renewal},
};

pub(super) fn routes(config: &mut ServiceConfig) {
    on_lock(config, "keepalive", keep_alive);
    on_lock(config, "release", release);
    on_lock(config, "verify", verify);
    post(config, "/v1/keepalive", keep_all_alive);
}

#[derive(Serialize, ToSchema)]
#[schema(as = KeptAlive)]
pub(super) struct KeptAliveBody {
    lease_id: LeaseId,
    ttl_ms: u64,
    remaining_ms: u64,
}

async fn keep_alive(mut call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let key = call.key();
    let lease = call.fields.required::<LeaseId>("lease_id");
    let (key, lease_id) = call.fields.finish(|| key.zip(lease))?;
    let renewal = locks.keep_alive(&key, lease_id).await?;
    Ok(HttpResponse::Ok().json(KeptAliveBody {
        lease_id,
        ttl_ms: millis(renewal.ttl),
        remaining_ms: millis(renewal.until.left()),
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = AllKeptAlive)]
pub(super) struct AllKeptAliveBody {
    leases: Vec<OneKeptAliveBody>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    locks: Vec<OneLookedAtBody>,
}

/// Renewed, gone, or not known because the store did not answer: then `code` says so.
#[derive(Serialize, ToSchema)]
#[schema(as = OneKeptAlive)]
struct OneKeptAliveBody {
    lease_id: LeaseId,
    renewed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

/// Whether a tenure is still the current one; with a `code` where that is not known.
#[derive(Serialize, ToSchema)]
#[schema(as = OneLookedAt)]
struct OneLookedAtBody {
    key: LockKey,
    fencing_token: FencingToken,
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

async fn keep_all_alive(call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    const MOST: usize = 1000;
    let mut fields = call.fields;
    let leases = fields.list::<LeaseId>("lease_ids", 1..=MOST);
    let tenures = match fields.has("locks") {
        true => fields.objects("locks", 1..=MOST, read_tenure),
        false => Some(Vec::new()),
    };
    let (leases, tenures) = fields.finish(|| leases.zip(tenures))?;
    let keys: HashMap<LeaseId, &LockKey> = tenures
        .iter()
        .map(|(key, lease_id, _)| (*lease_id, key))
        .collect();
    let renewals = leases
        .iter()
        .map(|lease| locks.keep_lease_alive(*lease, keys.get(lease).copied()));
    let looks = tenures.iter().map(async |(key, lease_id, fencing_token)| {
        let claim = Claim::Tenure {
            lease_id: *lease_id,
            fencing_token: *fencing_token,
        };
        locks.verify(key, &claim).await
    });
    let (renewals, looks) = join(join_all(renewals), join_all(looks)).await;
    let mut body = AllKeptAliveBody {
        leases: Vec::new(),
        locks: Vec::new(),
    };
    let mut failed = None;
    for (lease_id, renewal) in leases.into_iter().zip(renewals) {
        body.leases.push(one_kept_alive(lease_id, &renewal));
        failed = failed.or(renewal.err());
    }
    for ((key, _, fencing_token), look) in tenures.into_iter().zip(looks) {
        body.locks.push(OneLookedAtBody {
            key,
            fencing_token,
            current: matches!(look, Ok(Some(_))),
            code: look.err().map(|_| STORE_UNAVAILABLE.code),
        });
    }
    let unknown = |one: &OneKeptAliveBody| one.code == Some(STORE_UNAVAILABLE.code);
    match failed {
        // Not one of them got an answer: then neither does the caller.
        Some(err) if body.leases.iter().all(unknown) => Err(err.into()),
        _ => Ok(HttpResponse::Ok().json(body)),
    }
}

fn read_tenure(fields: &mut Fields) -> Option<(LockKey, LeaseId, FencingToken)> {
    let key = fields.required::<LockKey>("key");
    let lease_id = fields.required::<LeaseId>("lease_id");
    let fencing_token = fields.required::<FencingToken>("fencing_token");
    let (key, (lease_id, fencing_token)) = key.zip(lease_id.zip(fencing_token))?;
    Some((key, lease_id, fencing_token))
}

fn one_kept_alive(
    lease_id: LeaseId,
    renewal: &Result<Option<Renewal>, LockError>,
) -> OneKeptAliveBody {
    let renewed = renewal.as_ref().ok().copied().flatten();
    let code = match renewal {
        Ok(Some(_)) => None,
        Ok(None) => Some(LEASE_NOT_FOUND.code),
        Err(_) => Some(STORE_UNAVAILABLE.code),
    };
    OneKeptAliveBody {
        lease_id,
        renewed: renewed.is_some(),
        ttl_ms: renewed.map(|renewal| millis(renewal.ttl)),
        remaining_ms: renewed.map(|renewal| millis(renewal.until.left())),
        code,
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Released)]
pub(super) struct ReleasedBody {
    released: bool,
}

async fn release(mut call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let key = call.key();
    let claim = read_claim(&mut call.fields);
    let note = call.fields.optional::<Note>("note");
    let (key, claim) = call.fields.finish(|| key.zip(claim))?;
    let release = Release {
        claim,
        note,
        trace_id: call.trace_id,
    };
    let released = locks.release(&key, release).await?;
    Ok(HttpResponse::Ok().json(ReleasedBody { released }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Verified)]
pub(super) struct VerifiedBody<'a> {
    key: LockKey,
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fencing_token: Option<FencingToken>,
    token_epoch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_ms: Option<u64>,
}

async fn verify(mut call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let key = call.key();
    let claim = read_claim(&mut call.fields);
    let (key, claim) = call.fields.finish(|| key.zip(claim))?;
    let token_epoch = locks.token_epoch().await?;
    let verified = locks.verify(&key, &claim).await?;
    let remaining = verified.as_ref().and_then(|verified| verified.remaining);
    Ok(HttpResponse::Ok().json(VerifiedBody {
        key,
        current: verified.is_some(),
        fencing_token: verified.map(|verified| verified.fencing_token),
        token_epoch: &token_epoch,
        remaining_ms: remaining.map(millis),
    }))
}

/// A tenure by both its numbers, or a request by its id; nothing in between.
fn read_claim(fields: &mut Fields) -> Option<Claim> {
    const FIELDS: [&str; 3] = ["lease_id", "fencing_token", "request_id"];
    const RULE: &str =
        "a tenure is named by `lease_id` and `fencing_token`, or by `request_id` alone";
    let given = FIELDS.map(|name| fields.has(name));
    let lease = fields.optional::<LeaseId>("lease_id");
    let token = fields.optional::<FencingToken>("fencing_token");
    let request = fields.optional::<RequestId>("request_id");
    let wrong: &[&str] = match given {
        [true, true, false] | [false, false, true] => &[],
        [true, false, false] => &["fencing_token"],
        [false, true, false] => &["lease_id"],
        [false, false, false] => &FIELDS,
        [_, _, true] => &["request_id"],
    };
    for field in wrong {
        fields.refuse(field, RULE);
    }
    match (lease.zip(token), request) {
        (Some((lease_id, fencing_token)), None) => Some(Claim::Tenure {
            lease_id,
            fencing_token,
        }),
        (_, request) => request.map(Claim::Request),
    }
}
