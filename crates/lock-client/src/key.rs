//! Lock keys and the path they travel in.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::Error;

const LONGEST: usize = 1024;

/// All but the unreserved characters of RFC 3986, `/` among them: a key is one path segment.
pub(crate) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Name of a lock: 1–1024 bytes of UTF-8 without control characters, and neither `.` nor `..`, which
/// no URL can carry as a path segment.
#[derive(Debug, Clone)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn parse(key: &str) -> Result<Self, Error> {
        let invalid = |reason| {
            Err(Error::InvalidKey {
                key: key.to_owned(),
                reason,
            })
        };
        match key {
            "" => invalid("it is empty"),
            "." | ".." => invalid("no URL can carry it"),
            _ if key.len() > LONGEST => invalid("it is longer than 1024 bytes"),
            _ if key.chars().any(char::is_control) => invalid("it has a control character"),
            _ => Ok(Self(key.to_owned())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Path of an action on this lock.
    pub(crate) fn path(&self, action: &str) -> String {
        format!(
            "/v1/locks/{}/{action}",
            utf8_percent_encode(&self.0, ENCODED)
        )
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_is_one_path_segment() {
        let path = |key| Key::parse(key).unwrap().path("release");
        assert_eq!(path("a/acquire"), "/v1/locks/a%2Facquire/release");
        assert_eq!(path("a b%?#ä"), "/v1/locks/a%20b%25%3F%23%C3%A4/release");
        assert_eq!(path("..."), "/v1/locks/.../release");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for key in ["", ".", "..", "a\nb", "\0", &"x".repeat(1025)] {
            assert!(Key::parse(key).is_err(), "{key:?}");
        }
        assert!(Key::parse(&"x".repeat(1024)).is_ok());
    }
}
