//! Bodies, field by field, as `Fields` reads them.

use service_kit::openapi::schema::{fields, list, one_of, strings, whole, word};
use utoipa::{
    PartialSchema,
    openapi::{ObjectBuilder, Schema},
};

use super::values::{ModeWord, key};
use crate::{
    http::bodies::millis,
    lease::{FencingToken, Holder, LeaseId, Note, RequestId},
    locks::Rules,
};

const ANCHORS: &[&[&str]] = &[&["ttl_ms"], &["session_id"]];

/// Which field names the lock, when the path does not.
pub(super) fn with_key(body: ObjectBuilder) -> ObjectBuilder {
    body.property("key", key()).required("key")
}

pub(super) fn acquire(body: ObjectBuilder) -> Schema {
    let delay = whole(0..=millis(Rules::MAX_LOCK_DELAY))
        .description(Some("Milliseconds for which nobody gets the lock after this tenure expires, not after a release; with the mode `exclusive` alone."))
        .default(Some(0.into()));
    let body = wish(mode(body)).property("lock_delay_ms", delay);
    one_of(body, ANCHORS)
}

pub(super) fn acquire_all() -> Schema {
    let lock = mode(with_key(fields()));
    let locks =
        list(Schema::from(lock), 1..=Rules::MAX_AT_ONCE).description(Some("Each lock once."));
    one_of(
        wish(fields()).property("locks", locks).required("locks"),
        ANCHORS,
    )
}

/// What every acquire says.
fn wish(body: ObjectBuilder) -> ObjectBuilder {
    let wait = whole(0..=u64::MAX)
        .description(Some(
            "How long to wait, in milliseconds; at most `SHARED_LOCK_MAX_WAIT`.",
        ))
        .default(Some(0.into()));
    let metadata = strings().max_properties(Some(32)).description(Some(
        "What others see of the holder: at most 4096 bytes in all, without control characters.",
    ));
    body.property("holder", Holder::schema())
        .required("holder")
        .property("ttl_ms", ttl("Life of a lease of its own"))
        .property("session_id", LeaseId::schema())
        .property("wait_ms", wait)
        .property("request_id", RequestId::schema())
        .property("metadata", metadata)
}

fn mode(body: ObjectBuilder) -> ObjectBuilder {
    let mode = word(ModeWord::ALL).default(Some("exclusive".into()));
    let limit = whole(1..=1_000_000).description(Some(
        "With the mode `permit`, and needed there: what all weights may come to.",
    ));
    let weight = whole(1..=1_000_000).description(Some(
        "With the mode `permit` alone: what this one counts for; at most `limit`, 1 without it.",
    ));
    body.property("mode", mode)
        .property("limit", limit)
        .property("weight", weight)
}

fn ttl(what: &str) -> ObjectBuilder {
    let about = format!(
        "{what}, in milliseconds; rounded up to whole seconds, at least 2; at most `SHARED_LOCK_MAX_TTL`."
    );
    whole(1..=u64::MAX).description(Some(about))
}

pub(super) fn keep_alive(body: ObjectBuilder) -> Schema {
    let body = body.property("lease_id", LeaseId::schema());
    body.required("lease_id").into()
}

pub(super) fn release(body: ObjectBuilder) -> Schema {
    claim(body.property("note", Note::schema()))
}

pub(super) fn verify(body: ObjectBuilder) -> Schema {
    claim(body)
}

/// A tenure by both its numbers, or a request by its id alone.
fn claim(body: ObjectBuilder) -> Schema {
    let body = body
        .property("lease_id", LeaseId::schema())
        .property("fencing_token", FencingToken::schema())
        .property("request_id", RequestId::schema());
    one_of(body, &[&["lease_id", "fencing_token"], &["request_id"]])
}

pub(super) fn open_session() -> ObjectBuilder {
    fields()
        .property("holder", Holder::schema())
        .required("holder")
        .property("ttl_ms", ttl("Life of the session"))
        .required("ttl_ms")
}

pub(super) fn keep_all_alive() -> ObjectBuilder {
    let tenure = with_key(fields())
        .property("lease_id", LeaseId::schema())
        .required("lease_id")
        .property("fencing_token", FencingToken::schema())
        .required("fencing_token");
    let locks = list(Schema::from(tenure), 1..=1000)
        .description(Some("Tenures that are to be looked at, as by `verify`."));
    fields()
        .property("lease_ids", list(LeaseId::schema(), 1..=1000))
        .property("locks", locks)
        .required("lease_ids")
}
