//! What `/openapi.json` tells of the API.
//!
//! Answers are described by the types that they are written from. Bodies are read field by field, and
//! so are they described, in `bodies`. That the document lists the router's own calls is a test below;
//! that services answer as it says is seen by every test that calls one.

mod bodies;
mod compat;
mod events;
mod locks;
mod sessions;
mod values;

use service_kit::openapi::{DocumentBuilder, Endpoint};
use service_kit::problem::ProblemKind;
use utoipa::openapi::OpenApi;

pub(super) use self::values::ModeWord;
use super::problem::{STORE_REFUSED, STORE_UNAVAILABLE, UNSUPPORTED_BY_STORE};

const ABOUT: &str = "Locks and leases over HTTP.

Ids and fencing tokens are int64 in the store and travel as decimal strings; times are whole \
milliseconds in fields that end in `_ms`. Unknown fields, and fields that are there twice, are refused \
by name; `null` is no way to leave a field out. Lengths are counted in bytes of UTF-8, where a schema \
counts characters.";

/// What a call that needs the store is refused with when that fails.
const STORE: &[&ProblemKind] = &[&STORE_UNAVAILABLE, &STORE_REFUSED, &UNSUPPORTED_BY_STORE];

/// The OpenAPI document of this service.
pub fn document() -> OpenApi {
    let native = |calls: Vec<Endpoint>, tag: &str| -> Vec<Endpoint> {
        let calls = calls.into_iter();
        calls.map(|call| call.tag(tag).refuses(STORE)).collect()
    };
    DocumentBuilder::new("shared-lock-svc", env!("CARGO_PKG_VERSION"), ABOUT)
        .tag(
            "locks",
            "Locks: exclusive, shared, with permits; waited for in a queue.",
        )
        .tag("sessions", "Leases that carry many locks of one client.")
        .tag("events", "What happens to locks, as Server-Sent Events.")
        .tag("compatible", "The wire of tentens-tech/shared-lock.")
        .endpoints(native(locks::endpoints(), "locks"))
        .endpoints(native(sessions::endpoints(), "sessions"))
        .endpoints(native(events::endpoints(), "events"))
        .endpoints(compat::endpoints())
        .build()
}

#[cfg(test)]
mod tests {
    use service_kit::openapi::unlike;

    use super::*;
    use crate::http::{pprof, routes};

    #[actix_web::test]
    async fn the_document_lists_every_call_that_is_served_and_no_other() {
        let routes = |config: &mut actix_web::web::ServiceConfig| {
            config.configure(pprof::routes).configure(routes);
        };
        assert_eq!(unlike(document, routes).await, Vec::<String>::new());
    }
}
