//! The wire of tentens-tech/shared-lock, and `/debug/pprof`. Any method does; those that are meant are told.

use serde_json::json;
use service_kit::openapi::{
    Endpoint,
    schema::{members, strings, text, whole},
};
use utoipa::openapi::{
    Content, ContentBuilder,
    HttpMethod::{Get, Post},
};

const NO_LEASES: &str = "The store keeps one document a lock, and no leases of their own.";
const PROFILES: &str = "Served where `SHARED_LOCK_PPROF_ENABLED` is set.";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![lease(), keep_alive(), index(), profile()]
}

fn lease() -> Endpoint {
    let body = members()
        .property("key", text().max_length(Some(1024)))
        .property(
            "value",
            text().description(Some("What the holder key has as its value.")),
        )
        .property("labels", strings())
        .property("timestamp", text().description(Some("As in RFC 3339.")));
    let body = ContentBuilder::new()
        .schema(Some(body))
        .example(Some(json!({ "key": "backup", "value": "worker-7" })));
    let id = || {
        [(
            "text/plain",
            Content::new(Some(text().pattern(Some("^-?[0-9]+$")))),
        )]
    };
    let holder = || text().description(Some("Percent-encoded."));
    let why = "`Failed to unmarshal request body`, `Failed to read request body`, or what is wrong with the key.";
    let failed = "The store failed, the body is larger than 1.5 MiB, or the life is longer than etcd's longest.";
    Endpoint::bare(Post, "/lease", "lease", "Take a lock, or learn who has it")
        .tag("compatible")
        .about("The content type does not matter. Every field may be left out, or be `null`.")
        .header(
            "x-lease-ttl",
            "In Go's syntax; what cannot be read is ten seconds.",
            text().examples(["10s"]),
        )
        .takes_forms([("application/json", body.build())])
        .answers_with(201, "It is held: the lease id.", id())
        .with_header(
            201,
            "x-lease-ttl-granted",
            "The life of the lease.",
            text().examples(["10s"]),
        )
        .with_header(201, "x-fencing-token", "Grows with every grant.", text())
        .with_header(201, "x-lock-holder", "Who holds it.", holder())
        .answers_with(202, "Somebody else holds it: the lease id, or `0`.", id())
        .with_header(
            202,
            "x-lock-holder",
            "Who holds it, where that is known.",
            holder(),
        )
        .answers_text(400, why)
        .answers_with(500, failed, [])
        .answers_text(501, NO_LEASES)
}

fn keep_alive() -> Endpoint {
    let id = Content::new(Some(text().pattern(Some("^-?[0-9]+$"))));
    Endpoint::bare(
        Post,
        "/keepalive",
        "keepalive",
        "Restart the life of a lease",
    )
    .tag("compatible")
    .takes_forms([("text/plain", id)])
    .answers_with(200, "It is renewed.", [])
    .answers_with(204, "The lease is gone.", [])
    .answers_text(400, "`Failed to read request body`.")
    .answers_with(500, "The body is no lease id.", [])
    .answers_text(501, NO_LEASES)
    .answers_with(503, "The store does not answer.", [])
    .with_header(503, "Retry-After", "Seconds.", whole(1..=u64::MAX))
}

fn index() -> Endpoint {
    let page = Content::new(Some(text()));
    Endpoint::bare(
        Get,
        "/debug/pprof/",
        "pprofIndex",
        "The profiles that there are",
    )
    .tag("service")
    .about(PROFILES)
    .answers_with(200, "A page.", [("text/html", page)])
    .answers_text(404, "No profiles are served.")
}

fn profile() -> Endpoint {
    let bytes = Content::new(Some(text()));
    Endpoint::bare(
        Get,
        "/debug/pprof/profile",
        "pprofProfile",
        "A CPU profile for `go tool pprof`",
    )
    .tag("service")
    .about(PROFILES)
    .query("seconds", "How long; 30 for what is no number.", text())
    .answers_with(200, "The profile.", [("application/octet-stream", bytes)])
    .answers_text(400, "Too long.")
    .answers_text(404, "No profiles are served.")
    .answers_text(500, "A profile is being taken, or could not be made.")
}
