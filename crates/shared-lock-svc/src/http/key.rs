//! The name of a lock in a path.

use service_kit::query::decoded;

use crate::lease::{LockKey, Refused};

/// The segment after `/v1/locks/`, as one key.
///
/// It is taken from the path as it was sent: the router's own parameters are decoded in part, with
/// bytes that are not UTF-8 replaced, so that two different names could become one.
pub(super) fn key_of(path: &str) -> Result<LockKey, Refused> {
    let segment = path.split('/').nth(3).unwrap_or_default();
    let key = decoded(segment).map_err(|rule| Refused(rule.to_owned()))?;
    LockKey::parse(key)
}

#[cfg(test)]
mod tests {
    use super::key_of;

    #[test]
    fn a_key_is_one_segment_decoded_once() {
        for (segment, key) in [
            ("a", "a"),
            ("a%2Fb", "a/b"),
            ("a%2facquire", "a/acquire"),
            ("%2561", "%61"),
            ("a+b", "a+b"),
            ("a%2Bb", "a+b"),
            ("..", ".."),
            ("%2E%2e", ".."),
            ("%C3%A4", "ä"),
            ("a%20b%3F", "a b?"),
        ] {
            let path = format!("/v1/locks/{segment}/acquire");
            assert_eq!(key_of(&path).unwrap().as_str(), key, "{segment}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_rule() {
        for (segment, rule) in [
            ("", "must not be empty"),
            ("%00", "must not contain control characters"),
            ("a%0Ab", "must not contain control characters"),
            ("%FF", "must be UTF-8"),
            ("%C3", "must be UTF-8"),
            ("100%", "two hexadecimal digits"),
            ("%4", "two hexadecimal digits"),
            ("%zz", "two hexadecimal digits"),
            (&"k".repeat(1025), "at most 1024 bytes"),
        ] {
            let refusal = key_of(&format!("/v1/locks/{segment}/acquire")).unwrap_err();
            assert!(refusal.to_string().contains(rule), "{segment}: {refusal}");
        }
    }
}
