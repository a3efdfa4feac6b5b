//! Events, which are no JSON body: a stream of text.

use service_kit::openapi::{Endpoint, schema::text};
use utoipa::openapi::{ContentBuilder, HttpMethod::Get};

use super::values::{key, prefix};
use crate::http::problem::TOO_MANY_STREAMS;

const ABOUT: &str = "From the line `: listening` on. Each event has an `id`, a name and one line of JSON: \
`acquired`, `released`, `expired`, `lost`, `queued`; `missed` when events were lost on the way to this \
reader, which looks at the locks anew. A comment line comes every 15 s when nothing else does.";

const EXAMPLE: &str = r#"id: 1042
event: acquired
data: {"key":"backup","event":"acquired","holder":"me","mode":"exclusive","fencing_token":"1042","token_epoch":"8f0c2d6e","at":"2026-01-02T03:04:05.678Z"}

"#;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let stream = |call: Endpoint| {
        let content = ContentBuilder::new().schema(Some(text()));
        let content = content.example(Some(EXAMPLE.into())).build();
        call.about(ABOUT)
            .header(
                "Last-Event-ID",
                "Of whoever comes back: it is told that it missed something.",
                text(),
            )
            .answers_with(200, "The stream.", [("text/event-stream", content)])
            .refuses(&[&TOO_MANY_STREAMS])
    };
    let one = Endpoint::new(
        Get,
        "/v1/locks/{key}/events",
        "lockEvents",
        "Hear what happens to a lock",
    )
    .path("key", "The lock.", key());
    let many = Endpoint::new(
        Get,
        "/v1/events",
        "events",
        "Hear what happens to many locks",
    )
    .query("prefix", "What the keys begin with.", prefix())
    .query("key", "One lock, instead of a prefix.", key());
    vec![stream(one), stream(many)]
}
