//! What only the administrator may do.

use service_kit::openapi::{
    Endpoint,
    schema::{text, word},
};
use utoipa::openapi::{
    Content,
    HttpMethod::{Delete, Get, Post},
};

use super::messages::{digest, octets};
use crate::http::refusal::{
    ADMIN_OFF, MESSAGE_NOT_FOUND, NO_BACKUP, STORE_UNAVAILABLE, UNAUTHORIZED,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let progress = Content::new(Some(text()));
    let backup = Endpoint::new(Get, "/admin/backup", "backup", "The store as one file")
        .answers_with(
            200,
            "Whole only when it ends as a backup does.",
            [("application/octet-stream", octets())],
        )
        .refuses(&[&NO_BACKUP]);
    let scrub = Endpoint::new(Post, "/admin/scrub", "scrub", "Hash every message")
        .about("Tells how far it is, one JSON object a line: `checked`, `of`, `damaged`, `done`.")
        .answers_with(200, "The lines.", [("application/x-ndjson", progress)]);
    let delete = Endpoint::new(
        Delete,
        "/messages/{digest}",
        "deleteMessage",
        "Delete a message",
    )
    .about("Again too. A message that was blocked may not be posted again.")
    .path("digest", "64 lower-case hexadecimal digits.", digest())
    .query(
        "block",
        "Whether it may not be kept again.",
        word(["true", "false"]),
    )
    .answers_with(204, "It is deleted.", [])
    .with_header(
        204,
        "Consistency-Token",
        "On PostgreSQL with replicas: where the deletion stands.",
        text(),
    )
    .refuses(&[&MESSAGE_NOT_FOUND]);
    let all = [backup, scrub, delete];
    let guarded = all.into_iter().map(|call| {
        call.tag("admin")
            .needs_key()
            .refuses(&[&UNAUTHORIZED, &ADMIN_OFF, &STORE_UNAVAILABLE])
    });
    guarded.collect()
}
