//! Sessions: leases that carry many locks.

use actix_web::{
    HttpResponse,
    web::{self, Data, ServiceConfig},
};
use serde::Serialize;
use service_kit::problem::Problem;
use utoipa::ToSchema;

use super::{acquire::ttl_range, bodies::LifeBody, call::Call, post};
use crate::{
    lease::{Holder, LeaseId, SessionRequest},
    locks::Locks,
};

pub(super) fn routes(config: &mut ServiceConfig) {
    post(config, "/v1/sessions", open);
    post(config, "/v1/sessions/{id}/keepalive", keep_alive);
    config.service(web::resource("/v1/sessions/{id}").delete(end));
}

#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionBody {
    session_id: LeaseId,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<Holder>,
    #[serde(flatten)]
    life: LifeBody,
}

async fn open(call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let mut fields = call.fields;
    let holder = fields.required::<Holder>("holder");
    fields.demand("ttl_ms");
    let ttl = fields.millis("ttl_ms", ttl_range(locks.rules()));
    let request = fields.finish(|| {
        Some(SessionRequest {
            holder: holder?,
            ttl: ttl?,
        })
    })?;
    let holder = request.holder.clone();
    let session = locks.open_session(request).await?;
    Ok(HttpResponse::Created().json(SessionBody {
        session_id: session.id,
        holder: Some(holder),
        life: LifeBody::new(session.ttl, session.until, call.arrival),
    }))
}

async fn keep_alive(mut call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let session = call.session();
    let session_id = call.fields.finish(|| session)?;
    let renewal = locks.keep_session_alive(session_id).await?;
    Ok(HttpResponse::Ok().json(SessionBody {
        session_id,
        holder: None,
        life: LifeBody::new(renewal.ttl, renewal.until, call.arrival),
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Ended)]
pub(super) struct EndedBody {
    ended: bool,
}

async fn end(mut call: Call, locks: Data<Locks>) -> Result<HttpResponse, Problem> {
    let session = call.session();
    let session = call.fields.finish(|| session)?;
    let ended = locks.end_session(session).await?;
    Ok(HttpResponse::Ok().json(EndedBody { ended }))
}
