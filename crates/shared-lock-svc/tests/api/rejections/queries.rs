//! Fields that stand in a path or a query.

use serde_json::Value;

use crate::app::TestApp;

#[tokio::test]
async fn calls_on_sessions_and_queries_name_the_field_that_they_refuse() {
    let app = TestApp::start().await;
    let headers = "content-type: application/json\r\n";
    for (method, target, body, fields) in [
        ("POST", "/v1/sessions", "{}", &["holder", "ttl_ms"][..]),
        (
            "POST",
            "/v1/sessions",
            r#"{"holder":"me","ttl_ms":0}"#,
            &["ttl_ms"],
        ),
        (
            "POST",
            "/v1/sessions",
            r#"{"holder":"me","ttl_ms":1,"name":1}"#,
            &["name"],
        ),
        ("POST", "/v1/sessions/x/keepalive", "{}", &["session_id"]),
        (
            "POST",
            "/v1/sessions/1/keepalive",
            r#"{"ttl_ms":1}"#,
            &["ttl_ms"],
        ),
        (
            "DELETE",
            "/v1/sessions/9223372036854775808",
            "",
            &["session_id"],
        ),
        ("DELETE", "/v1/sessions/1?why=x", "", &["why"]),
        ("GET", "/v1/locks?limit=0", "", &["limit"]),
        ("GET", "/v1/locks?limit=501", "", &["limit"]),
        ("GET", "/v1/locks?limit=x&page=2", "", &["limit", "page"]),
        ("GET", "/v1/locks?limit=1&limit=2", "", &["limit"]),
        ("GET", "/v1/locks?limit=%2B1", "", &["limit"]),
        ("GET", "/v1/locks?prefix=%00", "", &["prefix"]),
        ("GET", "/v1/events?prefix=%0A", "", &["prefix"]),
        ("POST", "/v1/locks/a/acquire?wait=1", "{}", &["wait"]),
        ("POST", "/v1/sessions/1/keepalive?x=1", "{}", &["x"]),
        ("DELETE", "/v1/locks/a?reason=+", "", &["reason"]),
        ("DELETE", "/v1/locks/a?reason=a%E2%80%AEb", "", &["reason"]),
        ("GET", "/v1/locks?cursor=", "", &["cursor"]),
        ("GET", "/v1/locks?cursor=MmE", "", &["cursor"]),
        ("GET", "/v1/locks?cursor=***", "", &["cursor"]),
        ("GET", "/v1/locks/a?reason=x", "", &["reason"]),
        ("DELETE", "/v1/locks/a?reason=", "", &["reason"]),
        ("DELETE", "/v1/locks/a?reason=a%0Ab", "", &["reason"]),
        ("GET", "/v1/locks/a/events?prefix=a", "", &["prefix"]),
        ("GET", "/v1/events?key=a&prefix=a", "", &["prefix"]),
        ("GET", "/v1/events?key=", "", &["key"]),
    ] {
        let answer = app.call(method, target, headers, body).await;
        assert_eq!(answer.status, 422, "{method} {target}: {answer:?}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let errors = body["errors"].as_array().unwrap();
        let named: Vec<_> = errors.iter().map(|error| &error["field"]).collect();
        assert_eq!(named, fields, "{method} {target}");
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_decoded_is_malformed() {
    let app = TestApp::start().await;
    for (method, target, field) in [
        ("GET", "/v1/locks?prefix=%FF", "prefix"),
        ("GET", "/v1/locks?prefix=%zz", "prefix"),
        ("DELETE", "/v1/locks/a?reason=%ed%a0%80", "reason"),
    ] {
        let answer = app.call(method, target, "", "").await;
        assert_eq!(answer.status, 400, "{method} {target}: {answer:?}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["errors"][0]["field"], field, "{method} {target}");
    }
}
