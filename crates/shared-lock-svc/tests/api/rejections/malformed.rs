//! What is not well-formed: no JSON, no HTTP. And the page that each kind of problem has.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::app::TestApp;

#[tokio::test]
async fn what_is_not_well_formed_is_refused_with_its_place() {
    let app = TestApp::start().await;
    for call in ["acquire", "keepalive", "release"] {
        let path = format!("/v1/locks/jobs/{call}");
        for (content_type, body, status, code, says) in [
            (
                "application/json",
                &b""[..],
                400,
                "malformed",
                "line 1 column 0",
            ),
            (
                "application/json",
                b"{\n\"holder\": }",
                400,
                "malformed",
                "line 2 column 11",
            ),
            (
                "application/json",
                b"{} {}",
                400,
                "malformed",
                "line 1 column 4",
            ),
            (
                "application/json",
                b"{\"holder\": \"\xff\"}",
                400,
                "malformed",
                "byte 12",
            ),
            (
                "text/plain",
                b"{}",
                415,
                "unsupported-media-type",
                "`text/plain`",
            ),
            (
                "application/x-www-form-urlencoded",
                b"holder=x",
                415,
                "unsupported-media-type",
                "form",
            ),
        ] {
            let answer = app.post_bytes(&path, content_type, body).await;
            assert_eq!(answer.status, status, "{call}: {answer:?}");
            assert_eq!(answer.body["code"], code);
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains(says), "{call}: {detail}");
        }
        let large = format!("{{\"holder\":\"{}\"}}", "x".repeat(70_000));
        let answer = app.post_bytes(&path, "application/json", large).await;
        assert_eq!(answer.status, 413);
        assert_eq!(answer.body["code"], "body-too-large");
        let answer = app.call("GET", &path, "", "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    }
    assert_eq!(app.inspect("jobs").await["holders"], json!([]));
}

/// actix refuses it before there is a request.
#[tokio::test]
async fn what_is_no_http_is_refused_and_is_no_error_of_ours() {
    let app = TestApp::with(&[("SERVER_READ_TIMEOUT", "1s")]).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost: a\u{1}b\r\n\r\n".to_owned(), 400),
        ("GET /\u{1} HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("POST /lease HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}".to_owned(), 400),
        ("POST /lease HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(140_000)), 431),
        ("GET / HTTP/1.1\r\nhos".to_owned(), 408),
    ] {
        let mut connection = app.connect().await;
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // What the server left unread ends in a reset, behind its answer.
        let _ = connection.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let head = request.lines().next();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{head:?}: {answer}");
    }
    let log = app.service.logs();
    assert!(!log.contains("ERROR"), "{}", log.text());
}

#[tokio::test]
async fn every_kind_of_problem_has_a_page_of_its_own() {
    let app = TestApp::start().await;
    for (code, status) in [
        ("deadlock", 409),
        ("mixed-fleet", 409),
        ("session-not-found", 404),
        ("too-many-waiters", 429),
        ("too-many-locks", 429),
        ("too-many-streams", 429),
        ("shutting-down", 503),
        ("unsupported-by-store", 501),
        ("lock-held", 409),
        ("request-known", 409),
        ("request-ended", 410),
        ("lease-not-found", 404),
        ("store-unavailable", 503),
        ("store-refused", 500),
    ] {
        let page = app.get_text(&format!("/problems/{code}")).await;
        assert!(page.starts_with(&format!("{code} ({status})\n")), "{page}");
    }
}
