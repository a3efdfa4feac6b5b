//! `/openapi.json`, and the page that shows it.

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};
use serde_json::Value;
use service_kit::openapi::{DocumentBuilder, Endpoint, unlike};
use utoipa::openapi::{HttpMethod, OpenApi};

use crate::TestService;

pub(crate) fn document() -> OpenApi {
    DocumentBuilder::new("kit", "1.2.3", "A service for tests.").build()
}

#[tokio::test]
async fn the_document_is_served_and_shown_by_files_that_ask_nobody_else() {
    let service = TestService::start().await;
    let get = async |path: &str| reqwest::get(service.url(path)).await.unwrap();
    let document: Value = get("/openapi.json").await.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "kit");
    assert!(document["paths"]["/readyz"]["get"]["responses"]["503"].is_object());

    let page = get("/docs").await;
    assert!(page.url().path().ends_with("/docs/"), "{}", page.url());
    assert!(page.text().await.unwrap_or_default().len() < 2000);
    let files = [
        "swagger-ui.css",
        "swagger-ui-bundle.js",
        "swagger-ui-standalone-preset.js",
    ];
    for file in files {
        let found = get(&format!("/docs/{file}")).await;
        assert_eq!(found.status(), 200, "{file}");
        assert_eq!(found.headers()["content-encoding"], "gzip", "{file}");
    }
    let start = get("/docs/swagger-initializer.js")
        .await
        .text()
        .await
        .unwrap();
    assert!(start.contains("../openapi.json"), "{start}");
    assert!(!start.contains("http"), "{start}");
    assert_eq!(get("/docs/nothing.js").await.status(), 404);
}

#[actix_web::test]
async fn a_call_that_only_the_router_or_only_the_document_has_is_told() {
    fn more() -> OpenApi {
        let call = |method, path| Endpoint::new(method, path, "id", "summary");
        DocumentBuilder::new("kit", "1.2.3", "A service for tests.")
            .endpoints([
                call(HttpMethod::Get, "/both/{key}"),
                call(HttpMethod::Put, "/both/{key}"),
            ])
            .build()
    }
    let routes = |config: &mut ServiceConfig| {
        let both = web::resource("/both/{key:[^/]*}").get(HttpResponse::Ok);
        let any = web::resource("/any").to(HttpResponse::Ok);
        config.service(both.delete(HttpResponse::Ok)).service(any);
    };
    assert_eq!(
        unlike(more, routes).await,
        [
            "/any is served and not documented",
            "DELETE /both/{key} is served and not documented",
            "PUT /both/{key} is documented and not served",
        ]
    );
}
