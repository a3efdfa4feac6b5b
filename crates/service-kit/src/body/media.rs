//! What a request says its body is: `Content-Encoding` and `Content-Type`, each with all its lines.

use actix_web::{
    HttpRequest,
    http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName},
};

use crate::problem::{Problem, UNSUPPORTED_MEDIA_TYPE};

/// A body that nobody here reads; `Display` names the header and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{header}: {allowed}")]
pub struct UnsupportedBody {
    header: &'static str,
    allowed: String,
}

impl From<UnsupportedBody> for Problem {
    fn from(err: UnsupportedBody) -> Self {
        Self::new(&UNSUPPORTED_MEDIA_TYPE, &err).field(err.header, &err.allowed)
    }
}

/// The media type of a body that is not encoded and whose text, where it is one, is UTF-8.
#[derive(Debug)]
pub struct MediaType {
    /// In lower case, without parameters; empty where the request has none.
    essence: String,
}

impl MediaType {
    /// What the headers of `request` say.
    ///
    /// # Errors
    /// They contradict each other, or name an encoding or a charset that nobody here reads.
    pub fn of(request: &HttpRequest) -> Result<Self, UnsupportedBody> {
        expect_no_encoding(&lines(request, CONTENT_ENCODING))?;
        let lines = lines(request, CONTENT_TYPE);
        if lines.len() > 1 {
            return Err(unsupported_type("must be given once".to_owned()));
        }
        let mut parts = lines.first().map_or("", String::as_str).split(';');
        let essence = parts.next().unwrap_or_default().trim();
        for parameter in parts.map(str::trim).filter(|part| !part.is_empty()) {
            expect_utf8(parameter)?;
        }
        Ok(Self {
            essence: essence.to_ascii_lowercase(),
        })
    }

    /// `type/subtype`, in lower case; empty where the request has none.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// That this type is not one of those that are `allowed`.
    pub fn refused(&self, allowed: &str) -> UnsupportedBody {
        unsupported_type(match self.essence.as_str() {
            "" => format!("is missing; it must be {allowed}"),
            found => format!("must be {allowed}; it is `{found}`"),
        })
    }
}

fn lines(request: &HttpRequest, name: HeaderName) -> Vec<String> {
    let values = request.headers().get_all(name);
    values
        .map(|value| value.to_str().unwrap_or("?").to_owned())
        .collect()
}

/// Several codings may stand in one line or in several, and `identity` is none (RFC 9110 §8.4).
fn expect_no_encoding(lines: &[String]) -> Result<(), UnsupportedBody> {
    let mut codings = lines.iter().flat_map(|line| line.split(',')).map(str::trim);
    let is_none = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("identity");
    match codings.find(|coding| !is_none(coding)) {
        None => Ok(()),
        Some(found) => Err(UnsupportedBody {
            header: "Content-Encoding",
            allowed: format!("must be identity, or left out; it is `{found}`"),
        }),
    }
}

/// Refuses a parameter that is none, and a charset that is not UTF-8 or a part of it.
fn expect_utf8(parameter: &str) -> Result<(), UnsupportedBody> {
    let pair = parameter.split_once('=');
    let quoted = |value: &str| -> Option<String> {
        Some(value.strip_prefix('"')?.strip_suffix('"')?.to_owned())
    };
    let is_token = |text: &str| {
        let legal = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        !text.is_empty() && text.chars().all(legal)
    };
    let pair =
        pair.filter(|(name, value)| is_token(name) && (is_token(value) || quoted(value).is_some()));
    let Some((name, value)) = pair else {
        let rule = format!("its parameters must be `name=value`; one is `{parameter}`");
        return Err(unsupported_type(rule));
    };
    if !name.eq_ignore_ascii_case("charset") {
        return Ok(());
    }
    let charset = quoted(value).unwrap_or_else(|| value.to_owned());
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" | "utf8" | "us-ascii" => Ok(()),
        _ => Err(unsupported_type(format!(
            "its charset must be utf-8; it is `{charset}`"
        ))),
    }
}

fn unsupported_type(allowed: String) -> UnsupportedBody {
    UnsupportedBody {
        header: "Content-Type",
        allowed,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<String, String> {
        let mut request = TestRequest::default();
        for header in headers {
            request = request.append_header(*header);
        }
        let media = MediaType::of(&request.to_http_request());
        media
            .map(|media| media.essence)
            .map_err(|err| err.to_string())
    }

    #[test]
    fn a_media_type_is_read_whatever_its_case_and_its_spaces() {
        for content_type in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json ;charset=\"utf-8\" ; x=y;",
            "application/json; charset=us-ascii",
        ] {
            let read = read(&[("content-type", content_type)]);
            assert_eq!(read.unwrap(), "application/json", "{content_type}");
        }
        assert_eq!(read(&[]).unwrap(), "");
    }

    #[test]
    fn an_encoding_is_refused_wherever_it_stands() {
        for headers in [
            &[("content-encoding", "gzip")][..],
            &[("content-encoding", "identity, gzip")],
            &[
                ("content-encoding", "identity"),
                ("content-encoding", "gzip"),
            ],
        ] {
            let refused = read(headers).unwrap_err();
            assert_eq!(
                refused,
                "Content-Encoding: must be identity, or left out; it is `gzip`"
            );
        }
        for none in ["identity", "IDENTITY", "identity, Identity", ""] {
            read(&[("content-encoding", none)]).unwrap();
        }
    }

    #[test]
    fn content_types_that_contradict_each_other_are_refused() {
        let json = ("content-type", "application/json");
        for (headers, rule) in [
            (&[json, ("content-type", "text/plain")][..], "given once"),
            (&[json, json], "given once"),
            (&[("content-type", "text/plain; charset=latin1")], "charset"),
            (
                &[("content-type", "text/plain; charset=utf-8; charset=latin1")],
                "charset",
            ),
            (
                &[("content-type", "text/plain; x=1, text/html")],
                "name=value",
            ),
            (&[("content-type", "text/plain; charset")], "name=value"),
        ] {
            let refused = read(headers).unwrap_err();
            assert!(refused.starts_with("Content-Type: "), "{refused}");
            assert!(refused.contains(rule), "{headers:?}: {refused}");
        }
    }
}
