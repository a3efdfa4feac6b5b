//! Everything that `/v1` refuses: its status, the field it names, and that nothing was taken.

use serde_json::{Value, json};

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
    let wrong_lease = no_lease.into_iter().filter(|value| !value.is_null());
    let no_token = ["", "0", "-1", "x", "1.5", "18446744073709551616"].map(Value::from);
    let releases = [
        vec![
            (lease.clone(), "fencing_token"),
            (json!({ "fencing_token": "1" }), "lease_id"),
            (with(&tenure, "request_id", Some(json!("q"))), "request_id"),
            (with(&lease, "request_id", Some(json!("q"))), "request_id"),
            (with(&tenure, "note", Some(json!("x"))), "note"),
            (json!([]), "body"),
        ],
        of(&tenure, "lease_id", wrong_lease),
        of(&tenure, "fencing_token", no_token),
        of(&tenure, "fencing_token", [json!(1)]),
        of(
            &by_id,
            "request_id",
            [json!(""), json!("a b"), json!(1), json!("r".repeat(65))],
        ),
    ];
    for (body, field) in releases.concat() {
        let answer = app.release("jobs", body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.fields()),
            (422, vec![field]),
            "{body}"
        );
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

#[tokio::test]
async fn every_kind_of_problem_has_a_page_of_its_own() {
    let app = TestApp::start().await;
    for (code, status) in [
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
