//! Paths that nobody serves. Under `/v1` the answer is a problem; elsewhere it is what Go's router
//! answers: a path that is not clean is sent to the clean one, any other is not found.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header},
};
use service_kit::problem::{NOT_FOUND, Problem};

use super::lease::error_text;

pub(super) async fn unknown(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.uri().path();
    let clean = cleaned(path);
    // Keys may well be `..`: below `/v1` a path means what it says.
    if path == "/v1" || (path.starts_with("/v1/") && clean.starts_with("/v1")) {
        return Err(Problem::new(&NOT_FOUND, "no such path"));
    }
    Ok(match clean == path {
        true => error_text(StatusCode::NOT_FOUND, "404 page not found"),
        false => moved(&request, clean),
    })
}

fn moved(request: &HttpRequest, mut to: String) -> HttpResponse {
    if let Some(query) = request.uri().query() {
        to = format!("{to}?{query}");
    }
    let mut answer = HttpResponse::MovedPermanently();
    answer.insert_header((header::LOCATION, to.as_str()));
    let method = request.method();
    if request.headers().contains_key(header::CONTENT_TYPE)
        || !(method == Method::GET || method == Method::HEAD)
    {
        return answer.finish();
    }
    let link = to
        .replace('&', "&amp;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;");
    answer
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .body(format!("<a href=\"{link}\">Moved Permanently</a>.\n\n"))
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
