use std::{num::NonZeroU32, time::Duration};

use actix_web::{ResponseError, body::to_bytes};
use serde_json::{Value, json};

use super::Fields;
use crate::lease::{FencingToken, Holder, LeaseId};

fn fields(value: Value) -> Fields {
    let Value::Object(values) = value else {
        panic!("{value} is no object")
    };
    Fields::of_body(values)
}

/// All that a refusal names, with what it says is allowed.
async fn refused(fields: Fields) -> Value {
    let problem = fields.finish(|| Some(())).unwrap_err();
    let body = problem.error_response().into_body();
    let body: Value = serde_json::from_slice(&to_bytes(body).await.unwrap()).unwrap();
    body["errors"].clone()
}

#[actix_web::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let mut fields = fields(json!({
        "holder": "", "ttl_ms": 0, "wait_ms": null, "mode": "both", "other": 1,
    }));
    fields.required::<Holder>("holder");
    fields.required::<LeaseId>("lease_id");
    let second = Duration::from_secs(1);
    fields.millis("ttl_ms", Duration::from_millis(1)..=second);
    fields.millis("wait_ms", Duration::ZERO..=second);
    fields.word("mode", &[("one", 1), ("two", 2)]);
    let known = "is not known; the fields are `holder`, `lease_id`, `ttl_ms`, `wait_ms`, `mode`";
    assert_eq!(
        refused(fields).await,
        json!([
            { "field": "holder", "detail": "must be 1 to 256 bytes without control characters" },
            { "field": "lease_id", "detail": "is missing" },
            { "field": "ttl_ms", "detail": "must be a whole number from 1 to 1000" },
            { "field": "wait_ms", "detail": "must be a whole number from 0 to 1000" },
            { "field": "mode", "detail": "must be one of `one`, `two`" },
            { "field": "other", "detail": known },
        ])
    );
}

#[actix_web::test]
async fn ids_and_tokens_are_digits_without_a_plus() {
    let mut fields = fields(json!({ "lease_id": "+5", "fencing_token": "+7", "session_id": "5" }));
    fields.required::<LeaseId>("lease_id");
    fields.required::<FencingToken>("fencing_token");
    assert_eq!(fields.required("session_id"), Some(LeaseId(5)));
    let wrong = refused(fields).await;
    assert_eq!(wrong[0]["field"], "lease_id", "{wrong}");
    assert_eq!(wrong[1]["field"], "fencing_token", "{wrong}");
}

#[actix_web::test]
async fn fields_in_a_list_are_named_by_their_place() {
    let mut fields = fields(json!({ "locks": [{ "n": 1 }, { "n": 9, "x": 1 }, 3] }));
    let read = fields.objects("locks", 1..=3, |lock| lock.count("n", 1..=2));
    assert_eq!(read, Some(vec![NonZeroU32::MIN]));
    assert_eq!(
        refused(fields).await,
        json!([
            { "field": "locks[1].n", "detail": "must be a whole number from 1 to 2" },
            { "field": "locks[1].x", "detail": "is not known; the fields are `n`" },
            { "field": "locks[2]", "detail": "must be an object" },
        ])
    );
}
