//! Queries: each parameter decoded and there once, or refused by its name.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use percent_encoding::percent_decode_str;

use crate::problem::{MALFORMED, Problem};

/// The parameters of a query, in their order.
///
/// What is not UTF-8 without its percent signs is malformed (400); a parameter that is there twice is
/// not valid (422).
#[derive(Debug, Default)]
pub struct Query(pub Vec<(String, String)>);

/// The query of a call that takes no parameters: each is refused by its name (422).
pub struct NoQuery;

impl Query {
    /// Reads a whole query.
    ///
    /// # Errors
    /// Names the first parameter that cannot be read, or is there twice.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        Self::of(pairs(query))
    }

    /// Reads one parameter of a query whose others are nobody's business.
    ///
    /// # Errors
    /// It cannot be read, or is there twice.
    pub fn only(query: &str, wanted: &str) -> Result<Option<String>, Problem> {
        let is_wanted = |name: &str| decoded_word(name).is_ok_and(|name| name == wanted);
        let found = Self::of(pairs(query).filter(|(name, _)| is_wanted(name)))?;
        Ok(found.0.into_iter().next().map(|(_, value)| value))
    }

    /// Refuses every parameter of a query.
    ///
    /// # Errors
    /// Names the first one.
    pub fn expect_none(query: &str) -> Result<(), Problem> {
        Self::parse(query)?.expect_only(&[])
    }

    /// Refuses every parameter that is not `known`.
    ///
    /// # Errors
    /// Names the first one.
    pub fn expect_only(&self, known: &[&str]) -> Result<(), Problem> {
        let mut names = self.0.iter().map(|(name, _)| name.as_str());
        let Some(unknown) = names.find(|name| !known.contains(name)) else {
            return Ok(());
        };
        let rule = match known {
            [] => "is not known; there are no parameters here".to_owned(),
            known => format!("is not known; the parameters are {}", known.join(", ")),
        };
        Err(Problem::invalid(&shortened(unknown), rule))
    }

    fn of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in pairs {
            let name = decoded_word(name).map_err(|rule| malformed("query", rule))?;
            let value = decoded_word(value).map_err(|rule| malformed(&shortened(&name), rule))?;
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(Problem::invalid(&shortened(&name), "must be given once"));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }
}

impl FromRequest for Query {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request.query_string()))
    }
}

impl FromRequest for NoQuery {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Query::expect_none(request.query_string()).map(|()| Self))
    }
}

/// A part of a URL without its percent signs.
///
/// # Errors
/// What is allowed.
pub fn decoded(part: &str) -> Result<String, &'static str> {
    let well_formed = |rest: &str| {
        let hex = rest.as_bytes().get(..2);
        hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    if !part.split('%').skip(1).all(well_formed) {
        return Err("must have two hexadecimal digits behind each `%`");
    }
    let text = percent_decode_str(part).decode_utf8();
    text.map(Into::into).map_err(|_| "must be UTF-8")
}

/// A number of digits alone: a sign is none, whatever Rust takes for one.
pub fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The caller's own name of a field, not so long that the answer is about nothing else.
pub fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A name or a value of a query, where a plus is a space.
fn decoded_word(text: &str) -> Result<String, &'static str> {
    decoded(&text.replace('+', " "))
}

fn malformed(field: &str, rule: &str) -> Problem {
    Problem::new(&MALFORMED, format!("{field}: {rule}")).field(field, rule)
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;

    use super::*;

    fn refusal<T>(read: Result<T, Problem>) -> (u16, String) {
        let problem = read.err().expect("nothing is wrong");
        (problem.status_code().as_u16(), problem.to_string())
    }

    #[test]
    fn a_parameter_is_decoded_once() {
        let query = Query::parse("a=x+y&%62=%C3%A9%2B&&c&d==").unwrap();
        let read: Vec<_> = query
            .0
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(read, [("a", "x y"), ("b", "é+"), ("c", ""), ("d", "=")]);
    }

    #[test]
    fn a_parameter_that_cannot_be_read_is_named() {
        for (query, status, told) in [
            ("reason=%ff", 400, "reason: must be UTF-8"),
            ("reason=%ed%a0%80", 400, "reason: must be UTF-8"),
            ("a=b&reason=%zz", 400, "reason: must have two hexadecimal"),
            ("reason=100%", 400, "reason: must have two hexadecimal"),
            ("%ff=x", 400, "query: must be UTF-8"),
            ("a=1&%61=2", 422, "a: must be given once"),
        ] {
            let (found, detail) = refusal(Query::parse(query));
            assert_eq!(found, status, "{query}");
            assert!(detail.starts_with(told), "{query}: {detail}");
        }
    }

    #[test]
    fn of_a_query_that_is_read_in_part_the_rest_is_nobodys_business() {
        let only = |query| Query::only(query, "ttl_ms");
        assert_eq!(only("x=%ff&x=1&%ff&ttl%5Fms=7").unwrap().unwrap(), "7");
        assert_eq!(only("x=%ff").unwrap(), None);
        assert_eq!(refusal(only("ttl_ms=%ff")).0, 400);
        assert_eq!(refusal(only("ttl_ms=1&ttl_ms=2")).0, 422);
    }

    #[test]
    fn a_number_is_digits_alone() {
        for text in [
            "",
            "+1",
            "-1",
            " 1",
            "1.0",
            "0x1",
            "1e3",
            "18446744073709551616",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number("007"), Some(7));
    }
}
