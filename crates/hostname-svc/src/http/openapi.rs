//! What `/openapi.json` tells of the API.
//!
//! Answers are described by the types that they are written from. Bodies are read field by field, and
//! so are they described, in `bodies`. That the document lists the router's own calls is a test below;
//! that services answer as it says is seen by every test that calls one.

mod bodies;
mod hostnames;
mod prefixes;
mod values;

use service_kit::{openapi::DocumentBuilder, problem::ProblemKind};
use utoipa::openapi::OpenApi;

pub(super) use self::values::Status;
use super::problem::{
    COUNTER_REGRESSED, DOCUMENT_DELETED, DOCUMENT_UNREADABLE, STORE_BUSY, STORE_REFUSED,
    STORE_UNAVAILABLE, VAULT_SEALED,
};

const ABOUT: &str = "Unique hostnames `<application><role><counter><environment>`.

Fencing tokens travel as decimal strings. Unknown fields, and fields that are there twice, are refused \
by name; `null` is no way to leave a field out.";

/// What a call that needs the store is refused with when that fails.
const STORE: &[&ProblemKind] = &[
    &STORE_UNAVAILABLE,
    &VAULT_SEALED,
    &STORE_BUSY,
    &STORE_REFUSED,
    &DOCUMENT_DELETED,
    &DOCUMENT_UNREADABLE,
    &COUNTER_REGRESSED,
];

/// The OpenAPI document of this service.
pub fn document() -> OpenApi {
    let hostnames = hostnames::endpoints().into_iter();
    let prefixes = prefixes::endpoints().into_iter();
    DocumentBuilder::new("hostname-svc", env!("CARGO_PKG_VERSION"), ABOUT)
        .tag("hostnames", "Hostnames: given out, looked up, retired.")
        .tag(
            "prefixes",
            "What shares a counter: application, role and environment.",
        )
        .endpoints(hostnames.map(|call| call.tag("hostnames").refuses(STORE)))
        .endpoints(prefixes.map(|call| call.tag("prefixes").refuses(STORE)))
        .build()
}

#[cfg(test)]
mod tests {
    use service_kit::openapi::unlike;

    use super::*;
    use crate::http::routes;

    #[actix_web::test]
    async fn the_document_lists_every_call_that_is_served_and_no_other() {
        assert_eq!(unlike(document, routes).await, Vec::<String>::new());
    }
}
