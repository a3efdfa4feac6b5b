//! `/v1/operations`, and `Prefer: respond-async`.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{LOCATION, RETRY_AFTER},
    web::{self, Data, Path, ServiceConfig},
};
use serde::Serialize;
use service_kit::{problem::Problem, query::NoQuery};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{bodies::HostnameBody, openapi::Status, problem::OPERATION_NOT_FOUND};
use crate::{
    allocator::{AllocateError, Wish},
    documents::{Moment, Operation, Outcome},
    hostnames::{HostnameError, Hostnames},
};

const PREFER: &str = "Prefer";
const RESPOND_ASYNC: &str = "respond-async";

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(web::resource("/v1/operations/{id}").route(web::get().to(find)));
}

/// How far an operation has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub(super) struct OperationBody {
    #[schema(value_type = String)]
    id: Uuid,
    #[schema(value_type = Status)]
    status: &'static str,
    created_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostnames: Option<Vec<HostnameBody>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// What the call would have been answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refusal)]
struct ProblemBody {
    code: &'static str,
    status: u16,
    detail: String,
}

/// Whether a caller would rather not wait (RFC 7240).
pub(super) fn is_wanted(request: &HttpRequest) -> bool {
    let values = request.headers().get_all(PREFER);
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut preferences = texts.flat_map(|text| text.split(','));
    preferences.any(|preference| {
        let name = preference.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(RESPOND_ASYNC)
    })
}

/// Begins, and says where it is told how far it has come.
pub(super) async fn begin(
    hostnames: Arc<Hostnames>,
    wish: Wish,
    key: Option<&str>,
) -> Result<HttpResponse, Problem> {
    let operation = hostnames.begin(wish, key).await?;
    Ok(HttpResponse::Accepted()
        .insert_header((LOCATION, format!("/v1/operations/{}", operation.id)))
        .insert_header(("Preference-Applied", RESPOND_ASYNC))
        .insert_header((RETRY_AFTER, 1))
        .json(OperationBody::from(operation)))
}

async fn find(
    hostnames: Data<Hostnames>,
    id: Path<String>,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::new(&OPERATION_NOT_FOUND, format!("there is no operation {id}"));
    let known: Uuid = id.parse().map_err(|_| missing())?;
    let operation = hostnames.operation(&known).await?.ok_or_else(missing)?;
    let mut response = HttpResponse::Ok();
    if operation.outcome.is_none() {
        response.insert_header((RETRY_AFTER, 1));
    }
    Ok(response.json(OperationBody::from(operation)))
}

impl From<Operation> for OperationBody {
    fn from(operation: Operation) -> Self {
        let (status, hostnames, problem) = match operation.outcome {
            None => ("running", None, None),
            Some(Outcome::Named(records)) => {
                let hostnames = records.into_iter().map(HostnameBody::from).collect();
                ("done", Some(hostnames), None)
            }
            Some(failed) => ("failed", None, Some(ProblemBody::from(failed))),
        };
        Self {
            id: operation.id,
            status,
            created_at: operation.created_at,
            hostnames,
            problem,
        }
    }
}

impl From<Outcome> for ProblemBody {
    fn from(outcome: Outcome) -> Self {
        let error = match outcome {
            Outcome::KeyReused => HostnameError::KeyReused,
            Outcome::GivenUp(why) => HostnameError::GivenUp(why),
            Outcome::Ambiguous(owner) => AllocateError::Ambiguous(owner).into(),
            Outcome::Named(_) | Outcome::Expired => AllocateError::Timeout.into(),
        };
        let detail = error.to_string();
        let problem = Problem::from(error);
        Self {
            code: problem.kind().code,
            status: problem.kind().status,
            detail,
        }
    }
}
