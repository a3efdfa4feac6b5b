//! Paths that are not clean: `//lease` is sent to `/lease`, as Go's router does it.

use actix_web::{
    HttpRequest, HttpResponse,
    guard::{GuardContext, fn_guard},
    http::header,
    web::{self, ServiceConfig},
};

/// Paths of the tentens-tech/shared-lock wire. Keys under `/v1` may well be `..`.
const CLEAN: [&str; 4] = ["/lease", "/keepalive", "/health", "/metrics"];

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource("/{path:.*}")
            .guard(fn_guard(is_ours))
            .to(redirect),
    );
}

fn is_ours(context: &GuardContext<'_>) -> bool {
    let path = context.head().uri.path();
    let clean = cleaned(path);
    clean != path && CLEAN.contains(&clean.as_str())
}

async fn redirect(request: HttpRequest) -> HttpResponse {
    let mut to = cleaned(request.uri().path());
    if let Some(query) = request.uri().query() {
        to = format!("{to}?{query}");
    }
    HttpResponse::MovedPermanently()
        .insert_header((header::LOCATION, to))
        .finish()
}

/// The path without empty, `.` and `..` segments; a slash at its end stays.
fn cleaned(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let slash = if path.ends_with('/') && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::cleaned;

    #[test]
    fn a_path_is_cleaned_as_go_cleans_it() {
        for (path, clean) in [
            ("/lease", "/lease"),
            ("//lease", "/lease"),
            ("/a/../lease", "/lease"),
            ("/./lease", "/lease"),
            ("/../lease", "/lease"),
            ("/lease/", "/lease/"),
            ("/lease/.", "/lease"),
            ("//", "/"),
        ] {
            assert_eq!(cleaned(path), clean, "{path}");
        }
    }
}
