//! A call of `/v1`: its fields, wherever they came from, and what is known of it besides.

use std::future::ready;

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{Method, header},
};
use futures_util::future::LocalBoxFuture;
use serde_json::Map;
use service_kit::{body::Json, problem::Problem, query::Query, request::RequestContext};
use tokio::time::Instant;

use super::{fields::Fields, key::key_of};
use crate::lease::{LeaseId, LockKey, Refused};

/// A call. What a `POST` says is in its body, what others say in their query.
pub(super) struct Call {
    pub(super) fields: Fields,
    pub(super) arrival: Arrival,
    /// The trace it belongs to, for the audit log.
    pub(super) trace_id: Option<String>,
    /// The name of the lock, where the path has one.
    key: Option<Result<LockKey, Refused>>,
    /// The session, where the path has one.
    session: Option<String>,
}

/// When a call arrived, before its body was read.
#[derive(Clone, Copy)]
pub(super) struct Arrival(pub(super) Instant);

impl Call {
    /// The lock that the call is about: of the path, else of the field `key`.
    pub(super) fn key(&mut self) -> Option<LockKey> {
        match self.key.take() {
            None => self.fields.required("key"),
            Some(Ok(key)) => Some(key),
            Some(Err(refused)) => {
                self.fields.refuse("key", refused);
                None
            }
        }
    }

    /// The session that the path names.
    pub(super) fn session(&mut self) -> Option<LeaseId> {
        let session = self.session.take()?.parse().ok();
        if session.is_none() {
            let rule = "must be a session id: a decimal int64";
            self.fields.refuse("session_id", rule);
        }
        session
    }
}

impl FromRequest for Call {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let arrival = Arrival(Instant::now());
        let parameter = |name| request.match_info().get(name);
        let key = parameter("key").map(|_| key_of(request.uri().path()));
        let session = parameter("id").map(str::to_owned);
        let trace_id = RequestContext::current().map(|context| context.trace_id.to_string());
        let said = said(request, payload);
        Box::pin(async move {
            Ok(Self {
                fields: said.await?,
                arrival,
                trace_id,
                key,
                session,
            })
        })
    }
}

fn said(
    request: &HttpRequest,
    payload: &mut Payload,
) -> LocalBoxFuture<'static, Result<Fields, Problem>> {
    let query = request.query_string();
    if *request.method() != Method::POST {
        return Box::pin(ready(Query::parse(query).map(Fields::of_query)));
    }
    if is_bare(request) {
        let nothing = Query::expect_none(query);
        return Box::pin(ready(nothing.map(|()| Fields::of_body(Map::new()))));
    }
    let body = Json::from_request(request, payload);
    Box::pin(async { body.await.map(|Json(fields)| Fields::of_body(fields)) })
}

/// Whether a `POST` comes without a body and claims none.
fn is_bare(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH);
    length.is_none_or(|length| length == "0")
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && !headers.contains_key(header::CONTENT_TYPE)
}
