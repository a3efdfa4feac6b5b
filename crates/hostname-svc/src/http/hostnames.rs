//! `/v1/hostnames`.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::LOCATION,
    web::{self, Data, Path, ServiceConfig},
};
use serde_json::{Map, Value};
use service_kit::{
    body::Json,
    problem::Problem,
    query::{NoQuery, Query},
};

use super::{
    bodies::{BatchBody, HostnameBody, ImportBody, OutlookBody, PageBody, PreviewBody},
    field::{NamedField, invalid},
    operations,
    problem::HOSTNAME_NOT_FOUND,
    query::ListQuery,
    wish::{parse_batch, parse_import, parse_one, parse_preview, parse_retirement},
};
use crate::{
    allocator::{AllocateError, Want},
    hostname::{Hostname, InvalidField},
    hostnames::{Found, Given, Hostnames, Position},
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
        .service(web::resource("/v1/hostnames:batch").route(web::post().to(allocate_batch)))
        .service(web::resource("/v1/hostnames:import").route(web::post().to(import)))
        .service(web::resource("/v1/hostnames:preview").route(web::get().to(preview)))
        .service(
            web::resource("/v1/hostnames/{hostname}")
                .route(web::get().to(find))
                .route(web::delete().to(retire)),
        );
}

async fn allocate(
    hostnames: Data<Hostnames>,
    request: HttpRequest,
    body: Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let (wish, key) = with_key(parse_one(body.0), &request)?;
    if operations::is_wanted(&request) {
        return operations::begin(hostnames.into_inner(), wish, key).await;
    }
    let given = hostnames.allocate(wish, key).await?;
    let mut response = given_out(&given);
    let Some(record) = given.records.into_iter().next() else {
        return Err(AllocateError::Internal.into());
    };
    response.insert_header((LOCATION, format!("/v1/hostnames/{}", record.hostname)));
    Ok(response.json(HostnameBody::from(record)))
}

async fn allocate_batch(
    hostnames: Data<Hostnames>,
    request: HttpRequest,
    body: Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let (wish, key) = with_key(parse_batch(body.0), &request)?;
    if operations::is_wanted(&request) {
        return operations::begin(hostnames.into_inner(), wish, key).await;
    }
    let given = hostnames.allocate(wish, key).await?;
    Ok(given_out(&given).json(BatchBody::from(given)))
}

async fn import(
    hostnames: Data<Hostnames>,
    request: HttpRequest,
    body: Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let ((wish, dry_run), key) = with_key(parse_import(body.0), &request)?;
    let prefix = wish.prefix.clone();
    let chosen = match &wish.want {
        Want::Chosen(chosen) => chosen.clone(),
        _ => Vec::new(),
    };
    if dry_run {
        let outlook = hostnames.preview_import(&prefix, &chosen).await?;
        return Ok(HttpResponse::Ok().json(OutlookBody::new(&prefix, outlook)));
    }
    if operations::is_wanted(&request) {
        return operations::begin(hostnames.into_inner(), wish, key).await;
    }
    let given = hostnames.allocate(wish, key).await?;
    Ok(given_out(&given).json(ImportBody::new(
        &prefix,
        &hostnames.shape(&prefix),
        &chosen,
        given,
    )))
}

async fn preview(hostnames: Data<Hostnames>, query: Query) -> Result<HttpResponse, Problem> {
    let (prefix, count) = parse_preview(query).map_err(|fields| invalid(&fields))?;
    let next = hostnames.preview(&prefix, count).await?;
    Ok(HttpResponse::Ok().json(PreviewBody::new(prefix, next)))
}

/// What a body asks for, with the idempotency key of its request; all that is wrong with both at once.
fn with_key<T>(
    body: Result<T, Vec<NamedField>>,
    request: &HttpRequest,
) -> Result<(T, Option<&str>), Problem> {
    match (body, idempotency_key(request)) {
        (Ok(body), Ok(key)) => Ok((body, key)),
        (body, key) => {
            let mut fields = body.err().unwrap_or_default();
            fields.extend(key.err().map(NamedField::from));
            Err(invalid(&fields))
        }
    }
}

fn given_out(given: &Given) -> HttpResponseBuilder {
    if !given.replayed {
        return HttpResponse::Created();
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((IDEMPOTENT_REPLAY, "true"));
    response
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

async fn find(
    hostnames: Data<Hostnames>,
    name: Path<String>,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    let hostname = Hostname::try_from(name.into_inner()).map_err(|field| invalid(&[field]))?;
    told(&hostname, hostnames.find(&hostname).await?)
}

async fn retire(
    hostnames: Data<Hostnames>,
    name: Path<String>,
    query: Query,
) -> Result<HttpResponse, Problem> {
    let hostname = Hostname::try_from(name.into_inner()).map_err(|field| invalid(&[field]))?;
    let (reason, requested_by) = parse_retirement(query).map_err(|fields| invalid(&fields))?;
    let retired = hostnames.retire(&hostname, reason, requested_by).await?;
    told(&hostname, retired)
}

fn told(hostname: &Hostname, found: Option<Found>) -> Result<HttpResponse, Problem> {
    match found {
        Some(found) => Ok(HttpResponse::Ok().json(HostnameBody::from(found))),
        None => Err(Problem::new(
            &HOSTNAME_NOT_FOUND,
            format!("the hostname {hostname} was never given out"),
        )),
    }
}

async fn list(hostnames: Data<Hostnames>, query: Query) -> Result<HttpResponse, Problem> {
    let query = ListQuery::parse(query, Position::prefix);
    let query = query.map_err(|fields| invalid(&fields))?;
    let page = hostnames
        .list(&query.filter, query.after.as_ref(), query.limit)
        .await?;
    Ok(HttpResponse::Ok().json(PageBody::from(page)))
}
