//! The calls that every service has.

use utoipa::openapi::{
    Content,
    HttpMethod::{self, Get, Head},
};

use super::{
    Endpoint,
    schema::{list, members, text},
};
use crate::problem::{NOT_FOUND, NOT_READY};

/// The group of them.
pub(super) const TAG: &str = "service";

pub(super) fn endpoints() -> Vec<Endpoint> {
    // Probes of all kinds ask by GET or by HEAD.
    let mut all = probes(Get, "");
    all.extend(probes(Head, "Head"));
    let json = Content::new(Some(members()));
    let page = Content::new(Some(text()));
    all.extend([
        Endpoint::new(Get, "/openapi.json", "openapi", "This document").answers_with(
            200,
            "OpenAPI 3.1.",
            [("application/json", json)],
        ),
        Endpoint::new(Get, "/docs", "docs", "This document for people").answers_with(
            308,
            "It is at `/docs/`.",
            [],
        ),
        Endpoint::new(Get, "/docs/{file}", "docsFile", "A file of Swagger UI")
            .path("file", "The empty one is the page itself.", text())
            .answers_with(200, "The file.", [("*/*", page)])
            .refuses(&[&NOT_FOUND]),
    ]);
    all.into_iter().map(|call| call.tag(TAG)).collect()
}

fn probes(method: HttpMethod, suffix: &str) -> Vec<Endpoint> {
    let alive = "The process lives; no dependency is looked at.";
    let checks = list(text(), 1..=usize::MAX).description(Some("What is not ready, and why."));
    let verbose = "Lists the dependencies, whatever stands behind it.";
    let kind = "The member `code` of a problem.";
    let probe = |path: &str, summary| {
        let name = path.split('/').nth(1).unwrap_or_default();
        Endpoint::new(method.clone(), path, &format!("{name}{suffix}"), summary)
    };
    vec![
        probe("/livez", "Whether the process lives").answers_with(200, alive, []),
        probe("/health", "The same, under its older name").answers_with(200, alive, []),
        probe("/readyz", "Whether every dependency answers")
            .about("Looked up at most once a second. From SIGTERM on the answer is 503.")
            .query("verbose", verbose, text())
            .answers_text(200, "Ready.")
            .refuses_with(&NOT_READY, "checks", checks),
        probe("/metrics", "Metrics for Prometheus")
            .answers_text(200, "The text format of Prometheus."),
        probe("/problems/{code}", "What a kind of problem means")
            .path("code", kind, text())
            .answers_text(200, "What it means, and what to do about it.")
            .refuses(&[&NOT_FOUND]),
    ]
}
