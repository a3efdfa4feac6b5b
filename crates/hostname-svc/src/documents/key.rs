//! Idempotency keys: whose a number is, and what a key was given.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Format, GivenUp};
use crate::hostname::{Counter, Prefix};

/// SHA-256 of a caller and its `Idempotency-Key`, in lowercase hex: keys are the callers' own words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(String);

impl KeyHash {
    /// The hash of a key of `principal`. The length in front keeps ("a", "bc") and ("ab", "c") apart.
    pub fn new(principal: &str, key: &str) -> Self {
        let mut sha = Sha256::new();
        sha.update(
            u64::try_from(principal.len())
                .unwrap_or(u64::MAX)
                .to_be_bytes(),
        );
        sha.update(principal);
        sha.update(key);
        Self(hex::encode(sha.finalize()))
    }

    /// The hash as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose a number is: the idempotency key it was asked with, else the one request that asked. A retry
/// is another request, so with a key only the key is the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Asked with an idempotency key.
    Key(KeyHash),
    /// Asked without one.
    Request(String),
}

impl Owner {
    /// The idempotency key, if there is one.
    pub fn key(&self) -> Option<&KeyHash> {
        match self {
            Self::Key(key) => Some(key),
            Self::Request(_) => None,
        }
    }
}

/// What an idempotency key was given. Its version is one more than the entry's generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdemDocument {
    /// Format of this document.
    pub format: Format,
    /// The prefix it was used with.
    #[serde(flatten)]
    pub prefix: Prefix,
    /// What was asked.
    pub body_hash: String,
    /// The numbers given.
    pub numbers: Vec<Counter>,
    /// Why there is no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<GivenUp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_and_key_do_not_run_into_each_other() {
        assert_ne!(KeyHash::new("a", "bc"), KeyHash::new("ab", "c"));
    }
}
