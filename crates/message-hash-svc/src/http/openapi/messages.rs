//! Calls on messages.

use serde_json::{Value, json};
use service_kit::openapi::{
    Endpoint,
    schema::{fields, list, members, one_of, text, whole},
};
use utoipa::openapi::{
    Content, ContentBuilder,
    HttpMethod::{Get, Head, Post, Put},
    ObjectBuilder, RefOr, Schema,
};

use crate::http::{
    batch::BatchBody,
    refusal::{
        DIGEST_MISMATCH, MESSAGE_BLOCKED, MESSAGE_DAMAGED, STORE_UNAVAILABLE, TOO_MANY_MISSES,
    },
};
use service_kit::problem::{INVALID, MALFORMED, UNSUPPORTED_MEDIA_TYPE};

const DIGEST: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
const ONE: &str = "/messages/{digest}";
const TAG: &str = "messages";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        post(),
        look_up(Endpoint::bare(Get, ONE, "getMessage", "Get a message back")),
        look_up(Endpoint::bare(
            Head,
            ONE,
            "headMessage",
            "What getting it back would answer, without the message",
        )),
        put(),
        batch(),
    ]
}

fn post() -> Endpoint {
    let call = Endpoint::bare(Post, "/messages", "postMessage", "Keep a message")
        .about("Answered only after it is durable. Other members of a JSON body are ignored.");
    let call = kept(carrying(call))
        .answers_with(200, "It is kept: its digest.", digest_forms())
        .answers_with(
            201,
            "It is new, with `MESSAGE_HASH_ANSWER_CREATED`.",
            digest_forms(),
        )
        .with_header(201, "Location", "Where it can be got back.", text());
    let refused = [
        (400, "The body or the query is not well-formed."),
        (403, "The message was deleted and may not be kept again."),
        (408, "The body took too long."),
        (413, "The message is too large."),
        (415, "The form is not known."),
        (
            422,
            "The digest of `Content-Digest`, or `ttl_ms`, is not right.",
        ),
    ];
    placed(err_msgs(call, &refused), 200)
}

fn look_up(call: Endpoint) -> Endpoint {
    let json = || members().property("message", text()).required("message");
    let example = json!({ "message": "foo" });
    let forms = || {
        [
            ("application/json", example_of(json(), example.clone())),
            ("text/plain", Content::new(Some(text()))),
            ("application/octet-stream", octets()),
        ]
    };
    let parts = [
        ("text/plain", Content::new(Some(text()))),
        ("application/octet-stream", octets()),
    ];
    let call = call
        .about("`Accept` chooses the form. What is no digest names no message.")
        .path("digest", "64 lower-case hexadecimal digits.", digest())
        .header("If-None-Match", "What is known already.", text())
        .header("Range", "One range of bytes, of text and octets.", text())
        .header("If-Range", "The tag of what the range is of.", text())
        .header(
            "Consistency-Token",
            "A write that must be seen; several with commas.",
            text(),
        )
        .answers_with(200, "The message.", forms())
        .answers_with(206, "A part of it.", parts)
        .with_header(206, "Content-Range", "Which.", text())
        .answers_with(304, "It is known already.", []);
    let call = [200, 206, 304].into_iter().fold(call, |call, status| {
        call.with_header(status, "ETag", "Strong, another one for each form.", text())
            .with_header(
                status,
                "Cache-Control",
                "`immutable` where nothing can go away.",
                text(),
            )
            .with_header(status, "Vary", "`Accept`.", text())
    });
    let refused = [
        (400, "`Consistency-Token` is none."),
        (404, "No message has this digest."),
        (406, "It cannot be given in any accepted form."),
        (410, "It was deleted, or its time has passed."),
        (416, "It has no such bytes."),
        (429, "Too much was asked for that is not there."),
    ];
    err_msgs(call, &refused)
        .with_header(
            200,
            "Content-Digest",
            "RFC 9530, over the bytes sent.",
            text(),
        )
        .with_header(416, "Content-Range", "How many bytes it has.", text())
        .with_header(429, "Retry-After", "Seconds.", whole(1..=u64::MAX))
}

fn put() -> Endpoint {
    let call = Endpoint::new(
        Put,
        ONE,
        "putMessage",
        "Keep a message that has this digest",
    )
    .path("digest", "64 lower-case hexadecimal digits.", digest());
    let call = kept(carrying(call))
        .answers_with(200, "It was there already.", digest_forms())
        .answers_with(201, "It is new.", digest_forms())
        .with_header(201, "Location", "Where it can be got back.", text())
        .refuses(&[&MALFORMED, &UNSUPPORTED_MEDIA_TYPE, &INVALID])
        .refuses(&[&MESSAGE_BLOCKED, &DIGEST_MISMATCH, &STORE_UNAVAILABLE]);
    placed(placed(call, 200), 201)
}

fn batch() -> Endpoint {
    let example = json!({ "put": [{ "message": "foo" }], "get": [DIGEST], "exists": [DIGEST] });
    let answer = json!({
        "put": [{ "digest": DIGEST, "outcome": "known" }],
        "get": [{ "digest": DIGEST, "outcome": "found", "message": "foo" }],
        "exists": [{ "digest": DIGEST, "exists": true }],
    });
    let call = Endpoint::new(
        Post,
        "/messages:batch",
        "batch",
        "Keep, get and ask for several messages at once",
    )
    .tag(TAG)
    .about("At most 1000 entries together. The puts come first and are one commit, all or none.")
    .takes("Batch", batch_body(), example)
    .answers::<BatchBody>(200, "What became of each, in order.", answer)
    .refuses(&[
        &DIGEST_MISMATCH,
        &MESSAGE_DAMAGED,
        &TOO_MANY_MISSES,
        &STORE_UNAVAILABLE,
    ]);
    placed(call, 200)
}

/// A batch, as it is read entry by entry.
fn batch_body() -> ObjectBuilder {
    let base64 = text().description(Some("Base64 with padding, of any bytes."));
    let ttl = whole(1..=u64::MAX).description(Some("At most `MESSAGE_HASH_MAX_TTL`."));
    let put = fields()
        .property("message", text())
        .property("message_base64", base64)
        .property("digest", digest().description(Some("What is expected.")))
        .property("ttl_ms", ttl);
    let put = one_of(put, &[&["message"], &["message_base64"]]);
    fields()
        .property("put", list(put, 0..=1000))
        .property("get", list(Schema::from(digest()), 0..=1000))
        .property("exists", list(Schema::from(digest()), 0..=1000))
}

/// What carries a message.
fn carrying(call: Endpoint) -> Endpoint {
    let body = || members().property("message", text()).required("message");
    let json = example_of(body(), json!({ "message": "foo" }));
    call.takes_forms([
        ("application/json", json),
        (
            "application/x-www-form-urlencoded",
            Content::new(Some(body())),
        ),
        ("text/plain", Content::new(Some(text()))),
        ("application/octet-stream", octets()),
    ])
}

/// What whoever keeps a message may say besides.
fn kept(call: Endpoint) -> Endpoint {
    let ttl = whole(1..=u64::MAX);
    call.query(
        "ttl_ms",
        "How long to keep it, in milliseconds; at most `MESSAGE_HASH_MAX_TTL`.",
        ttl,
    )
    .header(
        "Content-Digest",
        "RFC 9530, `sha-256`: what has another digest is not kept.",
        text(),
    )
}

/// Where the write stands, for whoever wants to read it back.
fn placed(call: Endpoint, status: u16) -> Endpoint {
    let about = "On PostgreSQL with replicas: where the write stands.";
    call.with_header(status, "Consistency-Token", about, text())
}

/// The refusals of the message challenge, beside those that every call may meet.
fn err_msgs(call: Endpoint, refused: &[(u16, &str)]) -> Endpoint {
    let body = || members().property("err_msg", text()).required("err_msg");
    let everywhere = [
        (500, "The stored message does not have its digest any more."),
        (503, "The store could not be written or read."),
    ];
    let all = refused.iter().chain(&everywhere);
    let call = all.fold(call.tag(TAG), |call, (status, about)| {
        let content = example_of(body(), json!({ "err_msg": about.trim_end_matches('.') }));
        call.answers_with(*status, about, [("application/json", content)])
    });
    call.with_header(503, "Retry-After", "Seconds.", whole(1..=u64::MAX))
}

fn digest_forms() -> [(&'static str, Content); 2] {
    let json = members().property("digest", digest()).required("digest");
    [
        (
            "application/json",
            example_of(json, json!({ "digest": DIGEST })),
        ),
        ("text/plain", Content::new(Some(digest()))),
    ]
}

pub(super) fn digest() -> ObjectBuilder {
    text().pattern(Some("^[0-9a-f]{64}$")).examples([DIGEST])
}

/// Any bytes.
pub(super) fn octets() -> Content {
    Content::new(None::<RefOr<Schema>>)
}

fn example_of(schema: ObjectBuilder, example: Value) -> Content {
    ContentBuilder::new()
        .schema(Some(schema))
        .example(Some(example))
        .build()
}
