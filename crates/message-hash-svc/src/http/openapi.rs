//! What `/openapi.json` tells of the API.
//!
//! The batch is described by the types that it is read into and written from; the other calls take and
//! give messages in forms that no type tells. That the document lists the router's own calls is a test
//! below; that the service answers as it says is seen by every test that calls one.

mod admin;
mod messages;

use service_kit::openapi::DocumentBuilder;
use utoipa::openapi::OpenApi;

const ABOUT: &str = "The SHA-256 digest of a message, and the message back.

The two calls of the message challenge refuse with `{\"err_msg\": \"…\"}`, all others with problems.";

/// The OpenAPI document of this service.
pub fn document() -> OpenApi {
    DocumentBuilder::new("message-hash-svc", env!("CARGO_PKG_VERSION"), ABOUT)
        .key("The key of `MESSAGE_HASH_ADMIN_KEY`.")
        .tag("messages", "Messages by their digests.")
        .tag("admin", "What only the administrator may do.")
        .endpoints(messages::endpoints())
        .endpoints(admin::endpoints())
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
