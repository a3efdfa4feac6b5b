//! Taking a lock, or several at once.

use std::{ops::RangeInclusive, time::Duration};

use actix_web::{
    HttpResponse,
    web::{Data, ServiceConfig},
};
use serde::Serialize;
use service_kit::problem::Problem;
use utoipa::ToSchema;

use super::{
    bodies::{LifeBody, ModeBody, read_mode},
    call::{Arrival, Call},
    fields::Fields,
    on_lock, post,
    problem::{DEADLOCK, REQUEST_ENDED, REQUEST_KNOWN, held, session_gone},
};
use crate::{
    lease::{
        AcquireAllRequest, AcquireRequest, Acquisition, AllAcquired, AllAcquisition, Anchor,
        FencingToken, Holder, LeaseId, LockKey, Mode, Note, RequestId, Tenure, WantedLock,
    },
    locks::{Locks, Rules},
};

pub(super) fn routes(config: &mut ServiceConfig) {
    on_lock(config, "acquire", acquire);
    post(config, "/v1/locks:acquire-all", acquire_all);
}

#[derive(Serialize, ToSchema)]
#[schema(as = Acquired)]
pub(super) struct AcquiredBody {
    key: LockKey,
    request_id: RequestId,
    lease_id: LeaseId,
    holder: Holder,
    #[serde(flatten)]
    mode: ModeBody,
    fencing_token: FencingToken,
    token_epoch: String,
    #[serde(flatten)]
    life: LifeBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Note>,
}

async fn acquire(call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let arrival = call.arrival;
    let request = wish(call, locks.rules())?;
    let ended = locks.acquire(request.clone()).await?;
    match ended.outcome {
        Acquisition::Acquired(tenure) => {
            let body = acquired(request, tenure, ended.token_epoch, arrival);
            Ok(HttpResponse::Created().json(body))
        }
        Acquisition::Held(lock) => Err(held(&lock)),
        Acquisition::RequestKnown => Err(request_known()),
        Acquisition::RequestEnded => Err(request_ended()),
        Acquisition::SessionGone => Err(session_gone(request.anchor)),
        Acquisition::Deadlock(cycle) => Err(deadlock(&cycle)),
    }
}

fn wish(mut call: Call, rules: &Rules) -> Result<AcquireRequest, Problem> {
    let key = call.key();
    let trace_id = call.trace_id;
    let mut fields = call.fields;
    let holder = fields.required::<Holder>("holder");
    let anchor = read_anchor(&mut fields, rules);
    let mode = read_mode(&mut fields);
    let wait = fields.millis("wait_ms", Duration::ZERO..=rules.max_wait);
    let delayed = fields.has("lock_delay_ms");
    let lock_delay = fields.millis("lock_delay_ms", Duration::ZERO..=Rules::MAX_LOCK_DELAY);
    if delayed && mode.is_some_and(|mode| mode != Mode::Exclusive) {
        fields.refuse("lock_delay_ms", "goes with the mode `exclusive` alone");
    }
    let request_id = fields.optional::<RequestId>("request_id");
    let metadata = fields.metadata("metadata").unwrap_or_default();
    fields.finish(|| {
        let holder = holder?;
        Some(AcquireRequest {
            key: key?,
            value: holder.as_str().to_owned(),
            holder,
            anchor: anchor?,
            mode: mode?,
            lock_delay: lock_delay.unwrap_or_default(),
            trace_id,
            wait: wait.unwrap_or_default(),
            request_id: request_id.unwrap_or_else(RequestId::random),
            metadata,
        })
    })
}

/// A lease of its own or a session: `ttl_ms` or `session_id`, one of the two.
fn read_anchor(fields: &mut Fields, rules: &Rules) -> Option<Anchor> {
    let both = fields.has("ttl_ms") && fields.has("session_id");
    let neither = !fields.has("ttl_ms") && !fields.has("session_id");
    let ttl = fields.millis("ttl_ms", ttl_range(rules));
    let session = fields.optional::<LeaseId>("session_id");
    if both {
        fields.refuse("session_id", "stands instead of `ttl_ms`, not beside it");
    }
    if neither {
        fields.refuse("ttl_ms", "is missing; `session_id` may stand instead");
    }
    let own = ttl.map(Anchor::Own);
    own.or(session.map(Anchor::Session))
}

/// What a lease may be asked to live.
pub(super) fn ttl_range(rules: &Rules) -> RangeInclusive<Duration> {
    Duration::from_millis(1)..=rules.max_ttl
}

fn acquired(
    request: AcquireRequest,
    tenure: Tenure,
    token_epoch: String,
    arrival: Arrival,
) -> AcquiredBody {
    AcquiredBody {
        key: request.key,
        request_id: request.request_id,
        lease_id: tenure.lease_id,
        holder: request.holder,
        mode: request.mode.into(),
        fencing_token: tenure.fencing_token,
        token_epoch,
        life: LifeBody::new(tenure.ttl, tenure.until, arrival),
        note: tenure.note,
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = AllAcquired)]
pub(super) struct AllAcquiredBody {
    request_id: RequestId,
    session_id: LeaseId,
    holder: Holder,
    locks: Vec<OneBody>,
    token_epoch: String,
    #[serde(flatten)]
    life: LifeBody,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OneAcquired)]
struct OneBody {
    key: LockKey,
    #[serde(flatten)]
    mode: ModeBody,
    fencing_token: FencingToken,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Note>,
}

async fn acquire_all(call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let arrival = call.arrival;
    let request = wishes(call, locks.rules())?;
    let ended = locks.acquire_all(request.clone()).await?;
    match ended.outcome {
        AllAcquisition::Acquired(all) => {
            let body = all_acquired(request, all, ended.token_epoch, arrival);
            Ok(HttpResponse::Created().json(body))
        }
        AllAcquisition::Held(key, lock) => Err(held(&lock).with("key", key.as_str())),
        AllAcquisition::RequestKnown => Err(request_known()),
        AllAcquisition::RequestEnded => Err(request_ended()),
        AllAcquisition::SessionGone => Err(session_gone(request.anchor)),
    }
}

fn wishes(call: Call, rules: &Rules) -> Result<AcquireAllRequest, Problem> {
    let Call {
        mut fields,
        trace_id,
        ..
    } = call;
    let holder = fields.required::<Holder>("holder");
    let anchor = read_anchor(&mut fields, rules);
    let locks = fields.objects("locks", 1..=Rules::MAX_AT_ONCE, |lock| {
        let key = lock.required::<LockKey>("key");
        let mode = read_mode(lock);
        Some(WantedLock {
            key: key?,
            mode: mode?,
        })
    });
    let locks = locks.unwrap_or_default();
    for (place, lock) in locks.iter().enumerate() {
        if locks[..place].iter().any(|other| other.key == lock.key) {
            fields.refuse("locks", format!("must name each lock once: `{}`", lock.key));
        }
    }
    let wait = fields.millis("wait_ms", Duration::ZERO..=rules.max_wait);
    let request_id = fields.optional::<RequestId>("request_id");
    let metadata = fields.metadata("metadata").unwrap_or_default();
    fields.finish(|| {
        Some(AcquireAllRequest {
            locks,
            holder: holder?,
            anchor: anchor?,
            wait: wait.unwrap_or_default(),
            request_id: request_id.unwrap_or_else(RequestId::random),
            metadata,
            trace_id,
        })
    })
}

fn all_acquired(
    request: AcquireAllRequest,
    all: AllAcquired,
    token_epoch: String,
    arrival: Arrival,
) -> AllAcquiredBody {
    let modes = request.locks.iter().map(|lock| lock.mode);
    let one = |((key, fencing_token, note), mode): (_, Mode)| OneBody {
        key,
        mode: mode.into(),
        fencing_token,
        note,
    };
    AllAcquiredBody {
        request_id: request.request_id,
        session_id: all.session.id,
        holder: request.holder,
        locks: all.tenures.into_iter().zip(modes).map(one).collect(),
        token_epoch,
        life: LifeBody::new(all.session.ttl, all.session.until, arrival),
    }
}

fn request_known() -> Problem {
    Problem::new(
        &REQUEST_KNOWN,
        "this request id already holds this lock, or waits for it at another replica",
    )
}

fn request_ended() -> Problem {
    Problem::new(
        &REQUEST_ENDED,
        "this request id has ended and gets nothing any more",
    )
}

fn deadlock(cycle: &[(LockKey, Holder)]) -> Problem {
    let names: Vec<_> = cycle
        .iter()
        .map(|(key, holder)| format!("`{holder}` for `{key}`"))
        .collect();
    let members: Vec<_> = cycle
        .iter()
        .map(|(key, holder)| serde_json::json!({ "key": key, "holder": holder }))
        .collect();
    let detail = format!("this would wait for itself: {}", names.join(", "));
    Problem::new(&DEADLOCK, detail).with("cycle", members)
}
