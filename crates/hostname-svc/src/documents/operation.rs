//! What somebody asked for without waiting.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Format, GivenUp, KeyHash, Moment, Record, StemDocument, counter::json_text};
use crate::allocator::Wish;

/// An allocation that its caller does not wait for: written when it is asked for, and once more when it has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Operation {
    /// Format of this document.
    pub format: Format,
    /// Its id, which tells when it was asked for.
    pub id: Uuid,
    /// When it was asked for.
    pub created_at: Moment,
    /// Whose the hostnames will be: however often it is carried out, they are the same.
    pub key: KeyHash,
    /// What was asked for.
    #[serde(with = "json_text")]
    pub wish: Wish,
    /// How it ended; none while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json_text")]
    pub outcome: Option<Outcome>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// With these hostnames.
    Named(Vec<Record>),
    /// The idempotency key belongs to another body.
    KeyReused,
    /// There will be no name.
    GivenUp(GivenUp),
    /// The prefix could not be told from this one's.
    Ambiguous(Box<StemDocument>),
    /// It was tried for too long.
    Expired,
}

impl Operation {
    /// The day in which it was asked for, counted from 1970.
    pub fn day(id: &Uuid) -> Option<u64> {
        let (seconds, _) = id.get_timestamp()?.to_unix();
        Some(seconds / (24 * 60 * 60))
    }
}
