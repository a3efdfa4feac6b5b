//! Everything that `/v1` refuses: its status, the field it names, and that nothing was taken.

mod malformed;
mod queries;
mod several;

use serde_json::{Value, json};

use crate::app::TestApp;

/// Bodies of a call, with the field that each refusal names.
type Refusals = Vec<(Value, &'static str)>;

/// Each of the bodies is refused, by the name of its field.
async fn are_refused(app: &TestApp, path: &str, refusals: impl IntoIterator<Item = Refusals>) {
    for (body, field) in refusals.into_iter().flatten() {
        let answer = app.post(path, body.clone()).await;
        let told = (answer.status.as_u16(), answer.fields());
        assert_eq!(told, (422, vec![field]), "{path} {body}: {answer:?}");
        assert_eq!(answer.body["code"], "invalid", "{path} {body}");
    }
}

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
    are_refused(&app, "/v1/locks/jobs/acquire", refusals).await;
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
        json!("+1"),
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
    are_refused(&app, "/v1/locks/jobs/keepalive", keepalives).await;

    let tenure = with(&lease, "fencing_token", Some(held["fencing_token"].clone()));
    let by_id = json!({ "request_id": held["request_id"] });
    let no_token = ["", "0", "-1", "+1", "x", "1.5", "18446744073709551616"].map(Value::from);
    let claims = [
        vec![
            (lease.clone(), "fencing_token"),
            (json!({ "fencing_token": "1" }), "lease_id"),
            (with(&tenure, "request_id", Some(json!("q"))), "request_id"),
            (with(&lease, "request_id", Some(json!("q"))), "request_id"),
            (with(&tenure, "hold", Some(json!("x"))), "hold"),
            (json!([]), "body"),
        ],
        of(&tenure, "lease_id", no_lease),
        of(&tenure, "fencing_token", no_token),
        of(&tenure, "fencing_token", [json!(1)]),
        of(
            &by_id,
            "request_id",
            [json!(""), json!("a b"), json!(1), json!("r".repeat(65))],
        ),
    ];
    are_refused(&app, "/v1/locks/jobs/verify", claims.clone()).await;
    let notes = [json!(1), json!(null), json!("n".repeat(1025))];
    let releases = claims.into_iter().chain([of(&tenure, "note", notes)]);
    are_refused(&app, "/v1/locks/jobs/release", releases).await;
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
            told("ttl_ms", "must be a whole number from 1 to 86400000"),
            told("weight", "must be a whole number from 1 to 2"),
            told("wait_ms", "must be a whole number from 0 to 600000"),
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
