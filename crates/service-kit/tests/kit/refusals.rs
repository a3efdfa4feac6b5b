//! Everything refused leaves as problem+json.

use reqwest::{Client, Method, Response};
use serde_json::Value;

use crate::TestService;

async fn problem(response: Response) -> Value {
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    for member in [
        "type",
        "title",
        "detail",
        "instance",
        "code",
        "retryable",
        "trace_id",
    ] {
        assert!(!body[member].is_null(), "{member} is missing: {body}");
    }
    body
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let service = TestService::start().await;
    let body = problem(reqwest::get(service.url("/nothing?q=1")).await.unwrap()).await;
    assert_eq!(
        (&body["code"], &body["instance"]),
        (&"not-found".into(), &"/nothing".into())
    );
}

#[tokio::test]
async fn an_unknown_method_is_refused_and_the_known_ones_are_named() {
    let service = TestService::start().await;
    let response = Client::new()
        .request(Method::DELETE, service.url("/teapot"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["allow"], "GET");
    assert_eq!(problem(response).await["code"], "method-not-allowed");
}

#[tokio::test]
async fn a_path_segment_that_does_not_parse_is_malformed() {
    let service = TestService::start().await;
    let body = problem(reqwest::get(service.url("/numbers/many")).await.unwrap()).await;
    assert_eq!(body["code"], "malformed");
}

#[tokio::test]
async fn bodies_are_refused_by_type_size_syntax_and_field() {
    let service = TestService::start().await;
    let long = format!("{{\"ttl_ms\": 1{}}}", " ".repeat(100));
    for (content_type, body, status, code) in [
        (
            "text/plain",
            r#"{"ttl_ms":1}"#,
            415,
            "unsupported-media-type",
        ),
        ("application/json", long.as_str(), 413, "body-too-large"),
        ("application/json", "{", 400, "malformed"),
        ("application/json", r#"{"ttl_ms":"x"}"#, 422, "invalid"),
        (
            "application/json",
            r#"{"ttl_ms":1,"ttl_ms":1}"#,
            422,
            "invalid",
        ),
    ] {
        let request = Client::new()
            .post(service.url("/bodies"))
            .header("content-type", content_type);
        let response = request.body(body.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), status, "{body}");
        let refusal = problem(response).await;
        assert_eq!(refusal["code"], code);
        if status == 422 {
            assert_eq!(refusal["errors"][0]["field"], "ttl_ms");
        }
    }
    let send = |path| {
        Client::new()
            .post(service.url(path))
            .json(&serde_json::json!({"ttl_ms": 1}))
    };
    let sound = || send("/bodies");
    let encoded = sound().header("content-encoding", "gzip");
    let refusal = problem(encoded.send().await.unwrap()).await;
    assert_eq!(refusal["code"], "unsupported-media-type");
    let asked = send("/bodies?ttl_ms=1");
    let refusal = problem(asked.send().await.unwrap()).await;
    assert_eq!(refusal["code"], "invalid");
    assert_eq!(refusal["errors"][0]["field"], "ttl_ms");
    assert_eq!(sound().send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_problem_says_when_to_come_again_and_its_type_leads_to_an_explanation() {
    let service = TestService::start().await;
    let response = reqwest::get(service.url("/teapot")).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "2");
    let body = problem(response).await;
    let explained = reqwest::get(service.url(body["type"].as_str().unwrap()))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(explained.contains("Boil water."), "{explained}");
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_never_by_path() {
    let service = TestService::start().await;
    reqwest::get(service.url("/numbers/7")).await.unwrap();
    let metrics = reqwest::get(service.url("/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line = "http_server_request_duration_seconds_count{http_request_method=\"GET\",\
                http_response_status_code=\"200\",http_route=\"/numbers/{number}\",url_scheme=\"http\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    assert!(
        metrics.contains("process_resident_memory_bytes"),
        "{metrics}"
    );
    assert!(!metrics.contains("/numbers/7"), "{metrics}");
}
