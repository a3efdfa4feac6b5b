//! Bad input: each kind gets its status and a sentence, and nothing is written.

use message_hash_svc::store::embedded::EmbeddedStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{Answer, App};

const JSON: &str = "application/json";

/// Content type, body, status, and what the sentence begins with.
const BAD: &[(&str, &[u8], u16, &str)] = &[
    (JSON, b"", 400, "the body is not a JSON object"),
    (JSON, b"foo", 400, "the body is not a JSON object"),
    (JSON, b"null", 400, "the body is not a JSON object"),
    (JSON, b"[\"foo\"]", 400, "the body is not a JSON object"),
    (
        JSON,
        b"\xef\xbb\xbf{\"message\":\"foo\"}",
        400,
        "the body is not a JSON object",
    ),
    (JSON, b"{}", 400, "message: missing field `message`"),
    (
        JSON,
        b"{\"Message\":\"foo\"}",
        400,
        "message: missing field `message`",
    ),
    (
        JSON,
        b"{\"message\":null}",
        400,
        "message: invalid type: null",
    ),
    (
        JSON,
        b"{\"message\":1}",
        400,
        "message: invalid type: integer",
    ),
    (
        JSON,
        b"{\"message\":true}",
        400,
        "message: invalid type: boolean",
    ),
    (
        JSON,
        b"{\"message\":[\"foo\"]}",
        400,
        "message: invalid type: sequence",
    ),
    (
        JSON,
        b"{\"message\":{\"message\":\"foo\"}}",
        400,
        "message: invalid type: map",
    ),
    (
        JSON,
        b"{\"message\":\"a\",\"message\":\"b\"}",
        400,
        "message: duplicate field `message`",
    ),
    (
        JSON,
        b"{\"message\":\"foo\"",
        400,
        "the body is not valid JSON: EOF",
    ),
    (
        JSON,
        b"{\"message\":\"foo\"} x",
        400,
        "the body is not valid JSON: trailing characters at line 1 column 19",
    ),
    (
        JSON,
        b"{'message':'foo'}",
        400,
        "the body is not valid JSON: ",
    ),
    (
        JSON,
        b"{\"message\":\"a\nb\"}",
        400,
        "the body is not valid JSON: control character",
    ),
    (
        JSON,
        b"{\"message\":\"a\0b\"}",
        400,
        "the body is not valid JSON: control character",
    ),
    (
        JSON,
        b"{\"message\":\"\\ud800\"}",
        400,
        "the body is not valid JSON: ",
    ),
    (
        JSON,
        b"{\"message\":\"\\udc00\"}",
        400,
        "the body is not valid JSON: ",
    ),
    (
        JSON,
        b"{\"message\":\"\\ud800\\ud800\"}",
        400,
        "the body is not valid JSON: ",
    ),
    (
        JSON,
        b"{\"message\":\"\xff\"}",
        400,
        "the body is not UTF-8: byte 12",
    ),
    (
        JSON,
        b"{\"message\":\"foo\",\"x\":\"\xc3\"}",
        400,
        "the body is not UTF-8: byte 22",
    ),
    (
        "",
        b"{\"message\":\"foo\"}",
        415,
        "Content-Type: is missing; it must be application/json, ",
    ),
    (
        "text/plain",
        b"fo\xff",
        400,
        "the body is not UTF-8: byte 2",
    ),
    (
        "text/plain; charset=latin1",
        b"foo",
        415,
        "Content-Type: its charset must be utf-8; it is `latin1`",
    ),
    (
        "text/html",
        b"foo",
        415,
        "Content-Type: must be application/json, ",
    ),
    (
        "application/x-www-form-urlencoded",
        b"{\"message\":\"foo\"}",
        400,
        "message: the form has no field `message`",
    ),
    (
        "application/x-www-form-urlencoded",
        b"message=foo&message=bar",
        400,
        "message: the form has the field `message` twice",
    ),
    (
        "application/json-patch+json",
        b"{\"message\":\"foo\"}",
        415,
        "Content-Type: must be application/json, ",
    ),
    (
        "nonsense",
        b"{\"message\":\"foo\"}",
        415,
        "Content-Type: must be application/json, ",
    ),
];

#[tokio::test]
async fn bad_input_is_refused_with_a_sentence_and_nothing_is_written() {
    let app = App::start().await;
    for (content_type, body, status, sentence) in BAD {
        let answer = app.post(content_type, *body).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(answer.status, *status, "{shown}: {answer:?}");
        let said = sentence_of(&answer);
        assert!(said.starts_with(sentence), "{shown}: {said}");
    }
    deep(&app).await;
    encoded(&app).await;
    nothing_is_written(app).await;
}

/// A body that would overflow the stack of a parser without a limit.
async fn deep(app: &App) {
    let body = format!("{{\"x\":{}", "[".repeat(100_000));
    let answer = app.post(JSON, body).await;
    assert_eq!(answer.status, 400);
    let said = sentence_of(&answer);
    assert!(said.starts_with("the body is not valid JSON: "), "{said}");
}

async fn encoded(app: &App) {
    let answer = app
        .raw(
            b"POST /messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
            content-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 17\r\n\r\n\
            {\"message\":\"foo\"}",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    assert!(
        answer.contains("Content-Encoding: must be identity, or left out; it is `gzip`"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_batch_that_is_encoded_or_has_parameters_is_refused_by_their_names() {
    let app = App::start().await;
    let json = "content-type: application/json";
    for (path, headers, status, named) in [
        (
            "/messages:batch",
            &[json, "content-encoding: gzip"][..],
            415,
            "Content-Encoding",
        ),
        ("/messages:batch", &[json, json], 415, "Content-Type"),
        (
            "/messages:batch",
            &["content-type: application/json; charset=latin1"],
            415,
            "Content-Type",
        ),
        ("/messages:batch?x=1", &[json], 422, "x"),
        ("/messages:batch?x=%ff", &[json], 400, "x"),
    ] {
        let body = r#"{"put":[{"message":"foo"}]}"#;
        let refused = app.call("POST", path, headers, body).await;
        assert_eq!(refused.problem().0, status, "{path} {headers:?}");
        assert_eq!(refused.json()["errors"][0]["field"], named);
    }
    let put = format!(
        "/messages/{}?bogus=1",
        message_hash_svc::digest::Digest::of(b"foo")
    );
    let text = "content-type: text/plain";
    let refused = app.call("PUT", &put, &[text], "foo").await;
    assert_eq!(refused.problem().0, 422);
    assert_eq!(refused.json()["errors"][0]["field"], "bogus");
    nothing_is_written(app).await;
}

#[tokio::test]
async fn every_line_that_tells_about_a_body_is_read() {
    let app = App::start().await;
    let json = "content-type: application/json";
    let body = r#"{"message":"foo"}"#;
    for headers in [
        &[json, "content-type: text/plain"][..],
        &[json, "content-encoding: identity", "content-encoding: gzip"],
        &[json, "content-encoding: identity, br"],
    ] {
        let refused = app.call("POST", "/messages", headers, body).await;
        assert_eq!(refused.status, 415, "{headers:?}");
    }
    nothing_is_written(app).await;
    let app = App::start().await;
    let plain = [json, "content-encoding: IDENTITY"];
    let kept = app.call("POST", "/messages?bogus=%ff", &plain, body).await;
    assert_eq!(kept.status, 200, "what the challenge ignores is ignored");
    let form = "application/x-www-form-urlencoded";
    let named = app.post(form, "m%65ssage=foo").await;
    assert_eq!(named.status, 200, "{named:?}");
}

#[tokio::test]
async fn a_probe_by_another_method_is_refused() {
    let app = App::start().await;
    for path in ["/livez", "/readyz", "/health", "/metrics"] {
        let refused = app.call("POST", path, &[], "").await;
        assert_eq!(refused.problem().0, 405, "{path}");
        assert_eq!(refused.header("allow"), "GET, HEAD", "{path}");
        assert_eq!(app.call("HEAD", path, &[], "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_not_written() {
    let app = App::start_with(&[("MESSAGE_LIMIT", "10")]).await;
    app.keep("0123456789").await;
    for message in [
        "0123456789a".to_owned(),
        "é".repeat(6),
        "a".repeat(1000),
        "a".repeat(3_000_000),
    ] {
        let answer = app
            .post(JSON, serde_json::json!({ "message": message }).to_string())
            .await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(sentence_of(&answer).contains("is larger than"));
    }
    let spaces = format!("{{{}\"message\":\"foo\"}}", " ".repeat(2000));
    assert_eq!(app.post(JSON, spaces).await.status, 413);
    assert_eq!(app.metric("message_hash_commit_posts_count").await, 1.0);
}

#[tokio::test]
async fn a_stream_of_bytes_is_cut_off_at_the_limit_before_it_ends() {
    let app = App::start_with(&[("MESSAGE_LIMIT", "10")]).await;
    let mut connection = TcpStream::connect(app.address()).await.unwrap();
    let endless = b"POST /messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
        content-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n\
        b\r\n0123456789a\r\n";
    connection.write_all(endless).await.unwrap();
    let mut answer = vec![0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    nothing_is_written(app).await;
}

#[tokio::test]
async fn one_byte_more_than_a_mebibyte_is_too_large_in_every_form() {
    let app = App::start().await;
    let limit = 1024 * 1024;
    for content_type in ["text/plain", "application/octet-stream"] {
        let answer = app.post(content_type, "a".repeat(limit + 1)).await;
        assert_eq!(answer.status, 413, "{content_type}");
        assert_eq!(app.post(content_type, "a".repeat(limit)).await.status, 200);
    }
    let form = |size| format!("message={}", "%61".repeat(size));
    let content_type = "application/x-www-form-urlencoded";
    assert_eq!(app.post(content_type, form(limit + 1)).await.status, 413);
    assert_eq!(app.post(content_type, form(limit)).await.status, 200);
}

#[tokio::test]
async fn a_length_that_lies_keeps_nothing() {
    let app = App::start_with(&[("SERVER_READ_TIMEOUT", "1s")]).await;
    let head = "POST /messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
        content-type: application/octet-stream\r\n";
    // Both lengths: a request that two servers could cut in two places.
    let both = format!(
        "{head}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nfoo\r\n0\r\n\r\n"
    );
    let two = format!("{head}content-length: 3\r\ncontent-length: 4\r\n\r\nfoo");
    let none = format!("{head}content-length: three\r\n\r\nfoo");
    for request in [both, two, none] {
        let answer = app.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
    }
    let longer = format!("{head}content-length: 4\r\n\r\nfoo");
    let answer = app.raw(longer.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    nothing_is_written(app).await;
}

#[tokio::test]
async fn a_chunked_body_is_cut_off_at_the_limit() {
    let app = App::start_with(&[("MESSAGE_LIMIT", "10")]).await;
    let mut request = b"POST /messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
        content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for _ in 0..3 {
        request.extend_from_slice(b"200\r\n");
        request.extend_from_slice(&[b' '; 0x200]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = app.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(
        answer.contains("{\"err_msg\": \"the body is larger than 1084 bytes\"}"),
        "{answer}"
    );
    nothing_is_written(app).await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let app = App::start_with(&[("SERVER_READ_TIMEOUT", "1s")]).await;
    let mut connection = TcpStream::connect(app.address()).await.unwrap();
    connection
        .write_all(
            b"POST /messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
            content-type: application/json\r\ncontent-length: 17\r\n\r\n{\"message\"",
        )
        .await
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("{\"err_msg\": \"the body did not arrive within "),
        "{answer}"
    );
}

#[tokio::test]
async fn everything_beside_the_two_calls_is_refused_as_a_problem() {
    let app = App::start().await;
    for (path, status) in [("/messages", 405), ("/message", 404), ("/", 404)] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.content_type, "application/problem+json", "{path}");
    }
}

#[tokio::test]
async fn a_limit_beyond_all_bodies_refuses_none() {
    let app = App::start_with(&[("MESSAGE_LIMIT", &usize::MAX.to_string())]).await;
    app.keep("foo").await;
}

/// The `err_msg` of an answer in the challenge's form.
fn sentence_of(answer: &Answer) -> String {
    assert_eq!(answer.content_type, "application/json");
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let members = body.as_object().unwrap();
    assert_eq!(members.len(), 1, "{body}");
    members["err_msg"].as_str().unwrap().to_owned()
}

/// Looks into the store itself, once the service has ended.
async fn nothing_is_written(app: App) {
    assert!(app.service.terminate().await.unwrap().success());
    let table = durable::Durable::open(app.data_dir(), EmbeddedStore::options()).unwrap();
    let rows = table.scan("messages", &durable::Keys::all(), 10).unwrap();
    assert_eq!(rows, []);
}
