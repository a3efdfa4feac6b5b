//! Which form of a message a caller accepts.

use actix_web::HttpRequest;
use actix_web::http::header::{Accept, Header, Quality};

/// A form in which a message can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `{"message": "…"}`: what the message challenge answers.
    Json,
    /// The message as UTF-8 text.
    Text,
    /// The bytes of the message.
    Octets,
}

impl Form {
    /// In the order in which they are preferred where a caller does not care.
    const ALL: [Self; 3] = [Self::Json, Self::Text, Self::Octets];

    /// Its media type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Octets => "application/octet-stream",
        }
    }

    fn essence(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Text => ("text", "plain"),
            Self::Octets => ("application", "octet-stream"),
        }
    }
}

/// The form that the caller likes best of those that `can` be given; `None` when there is none.
///
/// A header that is not well-formed counts as none, as everywhere on the web.
pub(super) fn best(request: &HttpRequest, can: impl Fn(Form) -> bool) -> Option<Form> {
    let accepted = Accept::parse(request).map_or_else(|_| Vec::new(), |accept| accept.0);
    let offered = Form::ALL.into_iter().filter(|form| can(*form));
    if accepted.is_empty() {
        return offered.into_iter().next();
    }
    let liking = |form: &Form| {
        let (kind, subtype) = form.essence();
        // The most specific range that covers the form says how well it is liked.
        let ranges = accepted.iter().filter_map(|range| {
            let specificity = match (range.item.type_().as_str(), range.item.subtype().as_str()) {
                (k, s) if k == kind && s == subtype => 2,
                (k, "*") if k == kind => 1,
                ("*", "*") => 0,
                _ => return None,
            };
            Some((specificity, range.quality))
        });
        let best = ranges.max_by_key(|(specificity, _)| *specificity);
        best.map(|(_, quality)| quality)
    };
    let mut found = None;
    for form in offered {
        let Some(quality) = liking(&form).filter(|quality| *quality > Quality::ZERO) else {
            continue;
        };
        if found.is_none_or(|(_, best)| quality > best) {
            found = Some((form, quality));
        }
    }
    found.map(|(form, _)| form)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn chosen(accept: &str) -> Option<Form> {
        let request = TestRequest::default().insert_header(("accept", accept));
        best(&request.to_http_request(), |_| true)
    }

    #[test]
    fn the_form_that_is_liked_best_is_given() {
        for (accept, form) in [
            ("*/*", Some(Form::Json)),
            ("", Some(Form::Json)),
            ("nonsense", Some(Form::Json)),
            ("application/*", Some(Form::Json)),
            ("text/*", Some(Form::Text)),
            ("text/html, */*;q=0.8", Some(Form::Json)),
            (
                "text/plain;q=0.5, application/octet-stream",
                Some(Form::Octets),
            ),
            ("application/json;q=0, */*", Some(Form::Text)),
            (
                "application/json;q=0, text/*;q=0, application/*;q=0.1",
                Some(Form::Octets),
            ),
            ("text/html", None),
            ("application/json;q=0", None),
        ] {
            assert_eq!(chosen(accept), form, "{accept}");
        }
        let silent = TestRequest::default().to_http_request();
        assert_eq!(best(&silent, |_| true), Some(Form::Json));
        assert_eq!(
            best(&silent, |form| form == Form::Octets),
            Some(Form::Octets)
        );
    }
}
