//! Calls on sessions, and keeping many leases alive at once.

use serde_json::json;
use service_kit::openapi::Endpoint;
use utoipa::{
    PartialSchema,
    openapi::HttpMethod::{Delete, Post},
};

use super::bodies;
use crate::{
    http::{
        problem::SESSION_NOT_FOUND,
        sessions::{EndedBody, SessionBody},
        tenure::AllKeptAliveBody,
    },
    lease::LeaseId,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let id = || LeaseId::schema();
    let open = json!({
        "session_id": "7587869164236637445", "holder": "worker-7", "ttl_ms": 10_000,
        "remaining_ms": 9_998, "elapsed_ms": 4,
    });
    let kept = json!({
        "session_id": "7587869164236637445", "ttl_ms": 10_000, "remaining_ms": 9_998, "elapsed_ms": 1,
    });
    let all_kept = json!({ "leases": [
        { "lease_id": "7587869164236637445", "renewed": true, "ttl_ms": 10_000, "remaining_ms": 9_998 },
        { "lease_id": "7587869164236637446", "renewed": false, "code": "lease-not-found" },
    ] });
    vec![
        Endpoint::new(Post, "/v1/sessions", "openSession", "Open a session")
            .takes("OpenSession", bodies::open_session(), json!({ "holder": "worker-7", "ttl_ms": 10_000 }))
            .answers::<SessionBody>(201, "It is open.", open),
        Endpoint::new(Post, "/v1/sessions/{id}/keepalive", "keepSessionAlive", "Restart the life of a session and all its locks")
            .path("id", "The session.", id())
            .answers::<SessionBody>(200, "It is renewed.", kept)
            .refuses(&[&SESSION_NOT_FOUND]),
        Endpoint::new(Delete, "/v1/sessions/{id}", "endSession", "End a session")
            .about("Its locks are released, its requests leave their queues.")
            .path("id", "The session.", id())
            .answers::<EndedBody>(200, "It is over; `false`: it was over already.", json!({ "ended": true })),
        Endpoint::new(Post, "/v1/keepalive", "keepAllAlive", "Restart the life of many leases and sessions at once")
            .takes("KeepAllAlive", bodies::keep_all_alive(), json!({ "lease_ids": ["7587869164236637445", "7587869164236637446"] }))
            .answers::<AllKeptAliveBody>(200, "What became of each, and whether each of `locks` is still current; `code` is `lease-not-found`, or `store-unavailable` when nobody knows.", all_kept),
    ]
}
