//! `/debug/pprof`, as `go tool pprof` reads it; only where `SHARED_LOCK_PPROF_ENABLED` asks for it.
//!
//! There is a CPU profile. There is no heap profile: the allocator of the system keeps none, and one
//! that does would be paid for by everybody at all times.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, ServiceConfig},
};
use anyhow::Context;
use pprof::{ProfilerGuard, ProfilerGuardBuilder, protos::Message};
use service_kit::query::Query;
use tokio::time::sleep;
use tracing::warn;

/// Samples a second, as Go takes them.
const FREQUENCY: i32 = 100;

/// Libraries whose code may hold a lock that unwinding needs.
const NOT_UNWOUND: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// Seconds where none are asked for, or none that can be read.
const USUAL: u64 = 30;

/// Seconds of the longest profile.
const LONGEST: u64 = 300;

const INDEX: &str = "<html>
<head><title>/debug/pprof/</title></head>
<body>
<p>/debug/pprof/</p>
<ul>
<li><a href=\"profile?seconds=30\">profile</a>: CPU profile for <code>go tool pprof</code>; <code>seconds</code> says how long, at most 300.</li>
</ul>
</body>
</html>
";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/debug/pprof/", web::to(index))
        .route("/debug/pprof/profile", web::to(profile));
}

async fn index() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(INDEX)
}

/// Whoever writes no number gets the usual profile, as from Go.
async fn profile(request: HttpRequest) -> HttpResponse {
    let seconds = Query::only(request.query_string(), "seconds")
        .ok()
        .flatten();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    let seconds = seconds.filter(|seconds| *seconds > 0).unwrap_or(USUAL);
    if seconds > LONGEST {
        let why = format!("seconds must be at most {LONGEST}");
        return refusal(StatusCode::BAD_REQUEST, &why);
    }
    // One at a time: the timer belongs to the process.
    let profiler = ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        .blocklist(&NOT_UNWOUND)
        .build();
    let profiler = match profiler {
        Ok(profiler) => profiler,
        Err(err) => {
            let why = format!("Could not enable CPU profiling: {err}");
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, &why);
        }
    };
    sleep(Duration::from_secs(seconds)).await;
    // Names are looked up for every function seen, which takes its time.
    match web::block(move || encode(&profiler)).await {
        Ok(Ok(profile)) => HttpResponse::Ok()
            .content_type("application/octet-stream")
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"profile\"",
            ))
            .body(profile),
        Ok(Err(err)) => failure(&err),
        Err(err) => failure(&err.into()),
    }
}

fn encode(profiler: &ProfilerGuard<'_>) -> anyhow::Result<Vec<u8>> {
    let report = profiler.report().build().context("reading the samples")?;
    let profile = report.pprof().context("making a profile of the samples")?;
    Ok(profile.encode_to_vec())
}

fn failure(err: &anyhow::Error) -> HttpResponse {
    warn!(error = %err, "no profile was made: {err:#}");
    refusal(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the profile could not be made",
    )
}

fn refusal(status: StatusCode, why: &str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(("x-go-pprof", "1"))
        .body(format!("{why}\n"))
}
