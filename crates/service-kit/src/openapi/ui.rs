//! `/openapi.json`, and `/docs`: Swagger UI, whose files are part of the program.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Data, Path, ServiceConfig},
};
use utoipa_swagger_ui::Config;

use super::Document;
use crate::problem::{INTERNAL, NOT_FOUND, Problem};

/// Serves the document that the app data have.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/openapi.json").get(document))
        .service(web::resource("/docs").get(page))
        .service(web::resource("/docs/{file:.*}").get(file));
}

async fn document(document: Data<Document>) -> HttpResponse {
    HttpResponse::Ok().json(document())
}

/// The page names its files without a path: they are looked for beside it.
async fn page() -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, "docs/"))
        .finish()
}

async fn file(file: Path<String>) -> Result<HttpResponse, Problem> {
    // Nothing is asked of anybody else: neither of a validator, nor of another origin.
    let config = Config::new(["../openapi.json"])
        .validator_url("none")
        .use_base_layout();
    let found = utoipa_swagger_ui::serve(&file, Arc::new(config))
        .map_err(|err| Problem::new(&INTERNAL, err))?
        .ok_or_else(|| Problem::new(&NOT_FOUND, "no such file"))?;
    let mut answer = HttpResponse::Ok();
    answer.content_type(found.content_type);
    if found.gzpipped {
        answer.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    Ok(answer.body(found.bytes.into_owned()))
}
