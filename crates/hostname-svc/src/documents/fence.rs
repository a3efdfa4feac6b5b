//! Under which lock a document was written.

use serde::{Deserialize, Serialize};

/// Fencing token of the prefix lock under which a document was written, and the life of the lock
/// store that gave it: tokens compare only within one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The fencing token.
    #[serde(rename = "fencing_token", with = "decimal")]
    pub token: u64,
    /// The token epoch.
    #[serde(rename = "token_epoch")]
    pub epoch: String,
}

/// Numbers beyond 2^53 do not survive every JSON parser, so tokens travel as strings.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
