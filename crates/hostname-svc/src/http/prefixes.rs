//! `/v1/prefixes`.

use actix_web::{
    HttpResponse,
    web::{self, Data, Path, ServiceConfig},
};
use serde_json::{Map, Value};
use service_kit::{
    body::Json,
    problem::Problem,
    query::{NoQuery, Query},
};

use super::{
    bodies::{PrefixBody, PrefixPageBody},
    field::{NamedField, invalid},
    problem::PREFIX_NOT_FOUND,
    query::ListQuery,
    wish::parse_floor,
};
use crate::{
    hostname::Prefix,
    hostnames::{Hostnames, PrefixPosition},
};

type Parts = Path<(String, String, String)>;

pub(super) fn routes(config: &mut ServiceConfig) {
    const ONE: &str = "/v1/prefixes/{application}/{role}/{environment}";
    config
        .service(web::resource("/v1/prefixes").route(web::get().to(list)))
        .service(web::resource(ONE).route(web::get().to(find)))
        .service(web::resource(format!("{ONE}/floor")).route(web::put().to(raise_floor)));
}

async fn list(hostnames: Data<Hostnames>, query: Query) -> Result<HttpResponse, Problem> {
    let query = ListQuery::parse(query, PrefixPosition::prefix);
    let query = query.map_err(|fields| invalid(&fields))?;
    let page = hostnames
        .prefixes(&query.filter, query.after.as_ref(), query.limit)
        .await?;
    Ok(HttpResponse::Ok().json(PrefixPageBody::from(page)))
}

async fn find(
    hostnames: Data<Hostnames>,
    parts: Parts,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    let prefix = prefix(parts)?;
    match hostnames.prefix(prefix.clone()).await? {
        Some(state) => Ok(HttpResponse::Ok().json(PrefixBody::from(state))),
        None => Err(Problem::new(
            &PREFIX_NOT_FOUND,
            format!("no hostname of {prefix} was ever given out"),
        )),
    }
}

async fn raise_floor(
    hostnames: Data<Hostnames>,
    parts: Parts,
    body: Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let prefix = prefix(parts)?;
    let floor = parse_floor(body.0, &prefix).map_err(|fields| invalid(&fields))?;
    let state = hostnames.raise_floor(prefix, floor).await?;
    Ok(HttpResponse::Ok().json(PrefixBody::from(state)))
}

fn prefix(parts: Parts) -> Result<Prefix, Problem> {
    let (application, role, environment) = parts.into_inner();
    let (application, role, environment) = (
        application.try_into(),
        role.try_into(),
        environment.try_into(),
    );
    match (application, role, environment) {
        (Ok(application), Ok(role), Ok(environment)) => {
            Prefix::new(application, role, environment).map_err(|field| invalid(&[field]))
        }
        (application, role, environment) => {
            let wrong = [application.err(), role.err(), environment.err()];
            let wrong: Vec<NamedField> = wrong.into_iter().flatten().map(Into::into).collect();
            Err(invalid(&wrong))
        }
    }
}
