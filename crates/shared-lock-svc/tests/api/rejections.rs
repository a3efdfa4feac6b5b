//! Everything that `/v1` refuses: its status, the field it names, and that nothing was taken.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::app::TestApp;

/// Bodies of a call, with the field that each refusal names.
type Refusals = Vec<(Value, &'static str)>;

/// A body with one of its fields replaced, or without it.
fn with(body: &Value, field: &str, value: Option<Value>) -> Value {
    let mut body = body.clone();
    let fields = body.as_object_mut().unwrap();
    match value {
        Some(value) => drop(fields.insert(field.to_owned(), value)),
        None => drop(fields.remove(field)),
    }
    body
}

/// The refusals that `values` of `field` cause.
fn of(body: &Value, field: &'static str, values: impl IntoIterator<Item = Value>) -> Refusals {
    let refusal = |value| (with(body, field, Some(value)), field);
    values.into_iter().map(refusal).collect()
}

fn many(entries: usize) -> Value {
    (0..entries)
        .map(|entry| (entry.to_string(), json!("x")))
        .collect()
}

#[tokio::test]
async fn an_acquire_names_the_field_that_it_refuses_and_takes_nothing() {
    let wish = json!({
        "holder": "me",
        "ttl_ms": 60_000,
        "wait_ms": 0,
        "request_id": "q",
        "metadata": { "a": "b" },
    });
    let permit = with(&wish, "mode", Some(json!("permit")));
    let permit = with(&permit, "limit", Some(json!(3)));
    let shared = with(&wish, "mode", Some(json!("shared")));
    let session = with(&with(&wish, "ttl_ms", None), "session_id", Some(json!("1")));
    let no_number = [
        json!("1"),
        json!(-1),
        json!(1.5),
        json!(null),
        json!([]),
        json!(1e30),
    ];
    let refusals = [
        vec![
            (with(&wish, "holder", None), "holder"),
            (with(&wish, "ttl_ms", None), "ttl_ms"),
            (with(&wish, "hodler", Some(json!("x"))), "hodler"),
            (with(&wish, "lease_id", Some(json!("1"))), "lease_id"),
            (with(&wish, "Holder", Some(json!("x"))), "Holder"),
            (json!([]), "body"),
            (json!("text"), "body"),
            (json!(null), "body"),
        ],
        of(
            &wish,
            "holder",
            [json!(""), json!(1), json!(null), json!({})],
        ),
        of(
            &wish,
            "holder",
            [json!("h".repeat(257)), json!("a\0b"), json!("a\nb")],
        ),
        of(&wish, "ttl_ms", no_number.clone()),
        of(
            &wish,
            "ttl_ms",
            [json!(0), json!(86_400_001), json!(u64::MAX)],
        ),
        of(&wish, "wait_ms", no_number),
        of(&wish, "wait_ms", [json!(600_001), json!(u64::MAX)]),
        of(
            &wish,
            "request_id",
            [json!(""), json!(1), json!("r".repeat(65))],
        ),
        of(
            &wish,
            "request_id",
            [json!("a b"), json!("ä"), json!("a/b"), json!("a\0")],
        ),
        of(
            &wish,
            "metadata",
            [json!("x"), json!(["x"]), json!(null), many(33)],
        ),
        of(
            &wish,
            "metadata",
            [json!({ "a": "v".repeat(4096) }), json!({ "a\0": "v" })],
        ),
        of(
            &wish,
            "mode",
            [json!("read"), json!(""), json!(1), json!(null)],
        ),
        of(
            &wish,
            "lock_delay_ms",
            [json!(-1), json!("1"), json!(600_001)],
        ),
        of(&wish, "session_id", [json!("1")]),
        of(&wish, "limit", [json!(1)]),
        of(&wish, "weight", [json!(1)]),
        of(
            &permit,
            "limit",
            [json!(0), json!(1_000_001), json!("1"), json!(1.5)],
        ),
        of(
            &permit,
            "weight",
            [json!(0), json!(4), json!("1"), json!(null)],
        ),
        of(&shared, "limit", [json!(1)]),
        of(&shared, "weight", [json!(1)]),
        of(&shared, "lock_delay_ms", [json!(0), json!(1000)]),
        of(
            &session,
            "session_id",
            [json!(""), json!("x"), json!(1), json!(null)],
        ),
        vec![
            (with(&permit, "limit", None), "limit"),
            (
                with(&permit, "lock_delay_ms", Some(json!(1))),
                "lock_delay_ms",
            ),
        ],
        of(&wish, "metadata", [json!({ "a": "v\n" })]),
        vec![(
            with(&wish, "metadata", Some(json!({ "a": 1 }))),
            "metadata.a",
        )],
    ];
    let app = TestApp::start().await;
    for (body, field) in refusals.concat() {
        let answer = app.acquire("jobs", body.clone()).await;
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
        assert_eq!(answer.fields(), [field], "{body}: {answer:?}");
        assert_eq!(answer.body["code"], "invalid");
    }
    let view = app.inspect("jobs").await;
    assert_eq!(
        (&view["holders"], &view["waiters"]),
        (&json!([]), &json!([]))
    );
    let largest = with(&wish, "metadata", Some(many(32)));
    assert_eq!(app.acquire("jobs", largest).await.status, 201);
}

#[tokio::test]
async fn a_keepalive_and_a_release_name_the_field_that_they_refuse_and_end_nothing() {
    let app = TestApp::start().await;
    let held = app.holds("jobs", "me").await;
    let no_lease = [
        json!(1),
        json!(null),
        json!(""),
        json!("x"),
        json!("9223372036854775808"),
        json!(" 1"),
        json!("1\0"),
    ];
    let lease = json!({ "lease_id": held["lease_id"] });
    let keepalives = [
        vec![
            (json!({}), "lease_id"),
            (json!([]), "body"),
            (
                with(&lease, "fencing_token", Some(json!("1"))),
                "fencing_token",
            ),
        ],
        of(&lease, "lease_id", no_lease.clone()),
    ];
    for (body, field) in keepalives.concat() {
        let answer = app.keep_alive("jobs", body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.fields()),
            (422, vec![field]),
            "{body}"
        );
    }

    let tenure = with(&lease, "fencing_token", Some(held["fencing_token"].clone()));
    let by_id = json!({ "request_id": held["request_id"] });
    let no_token = ["", "0", "-1", "x", "1.5", "18446744073709551616"].map(Value::from);
    let releases = [
        vec![
            (lease.clone(), "fencing_token"),
            (json!({ "fencing_token": "1" }), "lease_id"),
            (with(&tenure, "request_id", Some(json!("q"))), "request_id"),
            (with(&lease, "request_id", Some(json!("q"))), "request_id"),
            (with(&tenure, "hold", Some(json!("x"))), "hold"),
            (json!([]), "body"),
        ],
        of(
            &tenure,
            "note",
            [json!(1), json!(null), json!("n".repeat(1025))],
        ),
        of(&tenure, "lease_id", no_lease),
        of(&tenure, "fencing_token", no_token),
        of(&tenure, "fencing_token", [json!(1)]),
        of(
            &by_id,
            "request_id",
            [json!(""), json!("a b"), json!(1), json!("r".repeat(65))],
        ),
    ];
    for (body, field) in releases.concat() {
        for call in ["release", "verify"] {
            if call == "verify" && field == "note" {
                continue;
            }
            let answer = app
                .post(&format!("/v1/locks/jobs/{call}"), body.clone())
                .await;
            let found = (answer.status.as_u16(), answer.fields());
            assert_eq!(found, (422, vec![field]), "{call} {body}");
        }
    }
    let nothing = app.release("jobs", json!({})).await;
    assert_eq!(
        nothing.fields(),
        ["lease_id", "fencing_token", "request_id"]
    );

    let view = app.inspect("jobs").await;
    assert_eq!(view["holders"][0]["fencing_token"], held["fencing_token"]);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let app = TestApp::start().await;
    let wish = json!({
        "holder": "", "ttl_ms": 0, "wait_ms": -1, "mode": "permit", "limit": 2, "weight": 3,
        "metadata": { "a": 1, "b": "x" }, "request_id": "a b", "owner": "me", "timeout": 3,
    });
    let answer = app.acquire("%00", wish).await;
    assert_eq!(answer.status, 422);
    let known = "is not known; the fields are `holder`, `ttl_ms`, `session_id`, `mode`, `limit`, \
                 `weight`, `wait_ms`, `lock_delay_ms`, `request_id`, `metadata`";
    let told = |field, detail| json!({ "field": field, "detail": detail });
    assert_eq!(
        answer.body["errors"],
        json!([
            told("key", "must not contain control characters"),
            told(
                "holder",
                "must be 1 to 256 bytes without control characters"
            ),
            told("ttl_ms", "must be 1 to 86400000"),
            told("weight", "must be 1 to 2"),
            told("wait_ms", "must be 0 to 600000"),
            told(
                "request_id",
                "must be 1 to 64 characters of A-Z, a-z, 0-9, '-', '_' and '.'"
            ),
            told("metadata.a", "must be a string"),
            told("owner", known),
            told("timeout", known),
        ])
    );
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("9 fields are not valid: key, holder, "),
        "{detail}"
    );
}

#[tokio::test]
async fn calls_on_several_locks_name_the_one_that_is_wrong() {
    let app = TestApp::start().await;
    let lock = |key: &str| json!({ "key": key });
    let wish = json!({ "holder": "me", "ttl_ms": 60_000, "locks": [lock("a"), lock("b")] });
    let many: Vec<_> = (0..31).map(|key| lock(&key.to_string())).collect();
    let refusals = [
        vec![
            (with(&wish, "locks", None), "locks"),
            (with(&wish, "holder", None), "holder"),
            (
                with(&wish, "lock_delay_ms", Some(json!(1))),
                "lock_delay_ms",
            ),
        ],
        of(
            &wish,
            "locks",
            [json!([]), json!({}), json!(null), json!(many)],
        ),
        of(&wish, "locks", [json!([lock("a"), lock("b"), lock("a")])]),
        vec![
            (
                with(&wish, "locks", Some(json!([lock("a"), "b"]))),
                "locks[1]",
            ),
            (
                with(&wish, "locks", Some(json!([lock("a"), {}]))),
                "locks[1].key",
            ),
            (
                with(&wish, "locks", Some(json!([lock("\u{1}")]))),
                "locks[0].key",
            ),
            (
                with(
                    &wish,
                    "locks",
                    Some(json!([{ "key": "a", "mode": "permit" }])),
                ),
                "locks[0].limit",
            ),
            (
                with(&wish, "locks", Some(json!([{ "key": "a", "ttl_ms": 1 }]))),
                "locks[0].ttl_ms",
            ),
        ],
    ];
    for (body, field) in refusals.concat() {
        let answer = app.post("/v1/locks:acquire-all", body.clone()).await;
        let found = (answer.status.as_u16(), answer.fields());
        assert_eq!(found, (422, vec![field]), "{body}");
    }
    let leases = json!({ "lease_ids": ["1"] });
    let refusals = [
        vec![(json!({}), "lease_ids")],
        of(&leases, "lease_ids", [json!("1"), json!([]), json!(null)]),
        of(&leases, "lease_ids", [json!(vec!["1"; 1001])]),
        vec![
            (json!({ "lease_ids": ["1", 2] }), "lease_ids[1]"),
            (json!({ "lease_ids": ["x"] }), "lease_ids[0]"),
        ],
    ];
    for (body, field) in refusals.concat() {
        let answer = app.post("/v1/keepalive", body.clone()).await;
        let found = (answer.status.as_u16(), answer.fields());
        assert_eq!(found, (422, vec![field]), "{body}");
    }
}

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
        ("GET", "/v1/locks?prefix=%FF", "", &["prefix"]),
        ("GET", "/v1/locks?prefix=%zz", "", &["prefix"]),
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
