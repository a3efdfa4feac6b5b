//! Calls on hostnames.

use serde_json::{Value, json};
use service_kit::openapi::{
    Endpoint,
    schema::{members, text, whole, word},
};
use service_kit::problem::ProblemKind;
use utoipa::{
    PartialSchema,
    openapi::{
        HttpMethod::{Delete, Get, Post},
        ObjectBuilder,
    },
};

use super::{
    bodies,
    values::{reason, requested_by},
};
use crate::{
    hostname::{Application, Environment, Hostname, Role},
    http::{
        bodies::{BatchBody, HostnameBody, ImportBody, OutlookBody, PageBody, PreviewBody},
        operations::OperationBody,
        problem::{
            ALLOCATION_TIMEOUT, AMBIGUOUS_PREFIX, HOSTNAME_NOT_FOUND, HOSTNAMES_TAKEN, KEY_REUSED,
            LOCK_FENCED, LOCK_REFUSED, LOCK_TIMEOUT, LOCK_UNAVAILABLE, NUMBER_PASSED,
            OPERATION_NOT_FOUND, PREFIX_EXHAUSTED, QUEUE_FULL, QUOTA_EXCEEDED, RECORD_DELETED,
        },
    },
};

/// What a call that moves a counter is refused with.
pub(super) const MOVING: &[&ProblemKind] = &[
    &QUEUE_FULL,
    &LOCK_TIMEOUT,
    &LOCK_UNAVAILABLE,
    &LOCK_REFUSED,
    &LOCK_FENCED,
    &ALLOCATION_TIMEOUT,
];

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        allocate(),
        batch(),
        import(),
        preview(),
        list(),
        find(),
        retire(),
        operation(),
    ]
}

fn allocate() -> Endpoint {
    let call = Endpoint::new(
        Post,
        "/v1/hostnames",
        "allocateHostname",
        "Get a new hostname",
    )
    .takes("Wish", bodies::wish(), wish())
    .answers::<HostnameBody>(
        201,
        "It is the caller's, and its record is written.",
        hostname(),
    )
    .with_header(201, "Location", "Where it is looked up.", text())
    .answers::<HostnameBody>(
        200,
        "The same key with the same body had it already.",
        hostname(),
    )
    .with_header(200, "Location", "Where it is looked up.", text());
    allocating(in_background(call))
}

fn batch() -> Endpoint {
    let batch = || json!({ "hostnames": [hostname()], "contiguous": true });
    let call = Endpoint::new(Post, "/v1/hostnames:batch", "allocateHostnames", "Get several new hostnames")
        .about("By one move of the counter: all of them or none. `contiguous` is `false` when a name was somebody else's and was passed over.")
        .takes("BatchWish", bodies::batch(), with(wish(), "count", 2.into()))
        .answers::<BatchBody>(201, "They are the caller's.", batch())
        .answers::<BatchBody>(200, "The same key with the same body had them already.", batch());
    allocating(in_background(call))
}

fn import() -> Endpoint {
    let outlook = json!({
        "dry_run": true, "hostnames": [{ "counter": 7, "hostname": "splunkweb7dev" }],
        "taken": [], "passed": [], "passed_over": 5,
    });
    let call = Endpoint::new(Post, "/v1/hostnames:import", "importHostnames", "Take over hostnames that were made elsewhere")
        .about("They are never given out, nor are the numbers that they pass over. A dry run answers 200 with what would be imported, what has a record, what is not beyond the counter.")
        .takes("Import", bodies::import(), with(wish(), "counters", json!([7])))
        .answers::<ImportBody>(201, "They have records.", json!({ "hostnames": [hostname()], "taken": [] }))
        .answers_either::<ImportBody, OutlookBody>(200, "They had records already; or what a dry run found.", outlook)
        .refuses(&[&NUMBER_PASSED, &HOSTNAMES_TAKEN]);
    allocating(in_background(call))
}

/// What all calls have in common that give hostnames out.
fn allocating(call: Endpoint) -> Endpoint {
    let key = text().pattern(Some("^[!-~]{1,255}$"));
    let replayed = word(["true"]);
    ambiguous(call).header("Idempotency-Key", "Makes a retry get the same: one key belongs to one body. Without it a retry takes another number.", key)
        .with_header(200, "Idempotent-Replay", "It was given out by an earlier call.", replayed)
        .refuses(&[&PREFIX_EXHAUSTED, &QUOTA_EXCEEDED, &KEY_REUSED, &RECORD_DELETED])
        .refuses(MOVING)
}

/// What a call may be asked to do in the background.
fn in_background(call: Endpoint) -> Endpoint {
    let about = "It goes on in the background.";
    call.header(
        "Prefer",
        "`respond-async`: not to wait for the outcome.",
        text(),
    )
    .answers::<OperationBody>(202, about, running())
    .with_header(202, "Location", "Where its outcome is told.", text())
    .with_header(202, "Preference-Applied", "`respond-async`.", text())
    .with_header(202, "Retry-After", "Seconds.", whole(1..=u64::MAX))
}

fn operation() -> Endpoint {
    let id = text().examples(["018f2c5e-7a4b-7c11-9d3e-5b6a7c8d9e0f"]);
    let path = "/v1/operations/{id}";
    Endpoint::new(
        Get,
        path,
        "findOperation",
        "See what became of an operation",
    )
    .path("id", "The operation.", id)
    .answers::<OperationBody>(200, "How far it has come.", running())
    .with_header(
        200,
        "Retry-After",
        "Seconds, while it runs.",
        whole(1..=u64::MAX),
    )
    .refuses(&[&OPERATION_NOT_FOUND])
}

fn running() -> Value {
    json!({
        "id": "018f2c5e-7a4b-7c11-9d3e-5b6a7c8d9e0f", "status": "running",
        "created_at": "2026-01-02T03:04:05.678Z",
    })
}

/// What a call is refused with whose hostnames could not be told from another prefix's.
pub(super) fn ambiguous(call: Endpoint) -> Endpoint {
    let owner = members()
        .property("application", Application::schema())
        .property("role", Role::schema())
        .description(Some("Whose names they are, where that is known."));
    call.refuses_with(&AMBIGUOUS_PREFIX, "owner", owner)
}

fn preview() -> Endpoint {
    let call = Endpoint::new(
        Get,
        "/v1/hostnames:preview",
        "previewHostnames",
        "See which hostnames come next",
    )
    .about("Nothing is written and nothing reserved: whoever asks for one first gets it.")
    .needs("application", "The application.", Application::schema())
    .needs("role", "The role.", Role::schema())
    .needs("environment", "The environment.", Environment::schema())
    .query("count", "How many; one without it.", bodies::count())
    .answers::<PreviewBody>(
        200,
        "They come next.",
        json!({
            "application": "splunk", "role": "web", "environment": "dev",
            "hostnames": [{ "counter": 2, "hostname": "splunkweb2dev" }], "reserved": false,
        }),
    )
    .refuses(&[&PREFIX_EXHAUSTED, &QUOTA_EXCEEDED]);
    ambiguous(call).refuses(MOVING)
}

fn list() -> Endpoint {
    let call = Endpoint::new(
        Get,
        "/v1/hostnames",
        "listHostnames",
        "List hostnames in the order of their counters",
    );
    paged(call).answers::<PageBody>(
        200,
        "A page.",
        json!({ "hostnames": [hostname()], "next": null }),
    )
}

/// The query of a listing.
pub(super) fn paged(call: Endpoint) -> Endpoint {
    let after: ObjectBuilder = text();
    call.query("application", "Of this application.", Application::schema())
        .query(
            "role",
            "Of this role; needs an application beside it.",
            Role::schema(),
        )
        .query(
            "environment",
            "Of this environment; needs a role beside it.",
            Environment::schema(),
        )
        .query(
            "limit",
            "Entries of one page.",
            whole(1..=500).default(Some(100.into())),
        )
        .query("after", "The `next` of the page before.", after)
}

fn find() -> Endpoint {
    Endpoint::new(
        Get,
        "/v1/hostnames/{hostname}",
        "findHostname",
        "Look a hostname up",
    )
    .path("hostname", "The hostname.", Hostname::schema())
    .answers::<HostnameBody>(200, "Its record.", hostname())
    .refuses(&[&HOSTNAME_NOT_FOUND, &RECORD_DELETED])
}

fn retire() -> Endpoint {
    let retired = json!({ "retired_at": "2026-02-03T04:05:06.789Z", "request_id": "018f", "reason": "replaced" });
    Endpoint::new(Delete, "/v1/hostnames/{hostname}", "retireHostname", "Retire a hostname")
        .about("The record stays as it is, and nobody is given the name again. Asked again, it answers the first retirement.")
        .path("hostname", "The hostname.", Hostname::schema())
        .needs("reason", "Why.", reason())
        .query("requested_by", "For whom.", requested_by())
        .answers::<HostnameBody>(200, "It is retired.", with(hostname(), "retired", retired))
        .refuses(&[&HOSTNAME_NOT_FOUND, &RECORD_DELETED])
}

fn wish() -> Value {
    json!({ "application": "splunk", "role": "web", "environment": "dev" })
}

fn hostname() -> Value {
    json!({
        "hostname": "splunkweb1dev", "application": "splunk", "role": "web", "counter": 1,
        "environment": "dev", "created_at": "2026-01-02T03:04:05.678Z", "request_id": "018f",
        "lock": { "fencing_token": "17", "token_epoch": "8f0c2d6e" },
    })
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}
