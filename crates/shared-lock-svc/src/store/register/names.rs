//! What the document of a lock is called.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::lease::LockKey;

/// The document that names the life of the store; no lock's is called so.
pub(super) const EPOCH: &str = "~epoch";

/// Longest name that is written out: file systems under an S3 server take 255 bytes.
const LONGEST: usize = 200;

/// One segment of a path, in ASCII that no server reads anything into, and another one for each key. A
/// person reads the key in it; a long one is its SHA-256, and stands in the document.
pub(super) fn document_of(key: &LockKey) -> String {
    let mut name = String::new();
    for byte in key.as_str().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            // Alone it would name a folder.
            b'.' if !name.is_empty() => name.push('.'),
            _ => {
                let _ = write!(name, "~{byte:02X}");
            }
        }
    }
    match name.len() {
        0 => "~".to_owned(),
        1..=LONGEST => name,
        _ => format!("~sha256-{}", hex(&Sha256::digest(key.as_str()))),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_has_a_name_of_its_own_that_means_no_other_path() {
        let long = ["k".repeat(1024), "k".repeat(1023), "/".repeat(67)];
        let mut keys = vec![
            "", "~", "~epoch", "a", "A", "a/", "a//", "a/b", "a~2Fb", "a%2Fb", ".", "..", "a.",
            "ä", "a\u{308}", "a\0", "k", "~sha256-", "sha256",
        ];
        keys.extend(long.iter().map(String::as_str));
        let mut names = HashSet::from([EPOCH.to_owned()]);
        for key in keys {
            let name = document_of(&LockKey::parse_compat(key).unwrap());
            assert!(
                name.len() <= 255 && name.is_ascii() && !name.contains('/'),
                "{name}"
            );
            assert!(!matches!(&*name, "" | "." | ".."), "{name}");
            assert!(names.insert(name), "{key:?}");
        }
    }

    #[test]
    fn a_person_reads_the_key_in_it() {
        let name = |key: &str| document_of(&LockKey::parse_compat(key).unwrap());
        assert_eq!(name("nightly-backup.v2"), "nightly-backup.v2");
        assert_eq!(name("team/job"), "team~2Fjob");
    }
}
