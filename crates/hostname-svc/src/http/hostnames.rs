//! `/v1/hostnames`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::LOCATION,
    web::{self, Data, Path, Query, ServiceConfig},
};
use serde_json::{Map, Value};
use service_kit::{body::Json, problem::Problem};

use super::{
    bodies::{HostnameBody, PageBody},
    field::{NamedField, invalid},
    problem::HOSTNAME_NOT_FOUND,
    query::ListQuery,
    wish::parse_wish,
};
use crate::{
    hostname::{Hostname, InvalidField},
    hostnames::{Hostnames, Outcome},
};

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const IDEMPOTENT_REPLAY: &str = "Idempotent-Replay";
const KEY_MAX: usize = 255;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/v1/hostnames")
                .route(web::post().to(allocate))
                .route(web::get().to(list)),
        )
        .service(web::resource("/v1/hostnames/{hostname}").route(web::get().to(find)));
}

async fn allocate(
    hostnames: Data<Hostnames>,
    request: HttpRequest,
    body: Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let (wish, key) = match (parse_wish(body.0), idempotency_key(&request)) {
        (Ok(wish), Ok(key)) => (wish, key),
        (wish, key) => {
            let mut fields = wish.err().unwrap_or_default();
            fields.extend(key.err().map(NamedField::from));
            return Err(invalid(&fields));
        }
    };
    let (record, replayed) = match hostnames.allocate(wish, key).await? {
        Outcome::Created(record) => (record, false),
        Outcome::Replayed(record) => (record, true),
    };
    let mut response = match replayed {
        false => HttpResponse::Created(),
        true => HttpResponse::Ok(),
    };
    if replayed {
        response.insert_header((IDEMPOTENT_REPLAY, "true"));
    }
    response.insert_header((LOCATION, format!("/v1/hostnames/{}", record.hostname)));
    Ok(response.json(HostnameBody::from(record)))
}

/// The idempotency key of a request, if it has one: the caller's own words, so only their form counts.
fn idempotency_key(request: &HttpRequest) -> Result<Option<&str>, InvalidField> {
    let mut values = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    let legal =
        !bytes.is_empty() && bytes.len() <= KEY_MAX && bytes.iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(key) if legal && values.next().is_none() => Ok(Some(key)),
        _ => Err(InvalidField::new(
            IDEMPOTENCY_KEY,
            "must be one header of 1 to 255 visible ASCII characters",
        )),
    }
}

async fn find(hostnames: Data<Hostnames>, name: Path<String>) -> Result<HttpResponse, Problem> {
    let hostname = Hostname::try_from(name.into_inner()).map_err(|field| invalid(&[field]))?;
    match hostnames.find(&hostname).await? {
        Some(record) => Ok(HttpResponse::Ok().json(HostnameBody::from(record))),
        None => Err(Problem::new(
            &HOSTNAME_NOT_FOUND,
            format!("the hostname {hostname} was never given out"),
        )),
    }
}

async fn list(
    hostnames: Data<Hostnames>,
    query: Query<Vec<(String, String)>>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::parse(query.into_inner()).map_err(|fields| invalid(&fields))?;
    let page = hostnames
        .list(&query.filter, query.after.as_ref(), query.limit)
        .await?;
    Ok(HttpResponse::Ok().json(PageBody::from(page)))
}
