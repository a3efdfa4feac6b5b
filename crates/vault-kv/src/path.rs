//! Paths that mean to Vault what they say.

/// Checks the path of a secret: segments parted by `/`. A `.` or `..` segment or a control character
/// would be dropped on the way without a word, and so name another secret.
pub(crate) fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.chars().any(char::is_control) {
        return Err("it has a control character");
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err("it has an empty segment"),
            "." | ".." => return Err("it has a `.` or `..` segment"),
            _ => (),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_would_name_another_secret_is_refused() {
        for path in [
            "", "/", "a/", "/a", "a//b", ".", "a/../b", "a/.", "a\tb", "a\0",
        ] {
            assert!(check(path).is_err(), "{path:?}");
        }
        for path in [
            "a",
            "a/b",
            "a/...",
            "hosts/sp/splunkweb1dev",
            "a b",
            "a%2fb",
            "ä",
        ] {
            assert_eq!(check(path), Ok(()), "{path:?}");
        }
    }
}
