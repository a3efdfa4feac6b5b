//! Locks as everybody may see them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::options::Mode;
use crate::wire::{ModeBody, milliseconds, number_in_a_string};

/// A lock: who has it, and who waits for it, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockView {
    /// The lock.
    pub key: String,
    /// Who has it: one, or several readers or permits.
    pub holders: Vec<HolderView>,
    /// Who waits, the next one first.
    pub waiters: Vec<WaiterView>,
}

/// Somebody who has a lock. What the service cannot tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// Who.
    pub holder: Option<String>,
    /// How.
    #[serde(flatten, with = "mode")]
    pub mode: Mode,
    /// The token of this tenure.
    #[serde(with = "number_in_a_string")]
    pub fencing_token: u64,
    /// Tokens compare only within one epoch.
    pub token_epoch: String,
    /// For how long it has been held.
    #[serde(rename = "held_ms", with = "millis")]
    pub held_for: Option<Duration>,
    /// Life of the lease between two renewals.
    #[serde(rename = "ttl_ms", with = "millis")]
    pub ttl: Option<Duration>,
    /// What is left of it: advisory, and stale on arrival.
    #[serde(rename = "remaining_ms", with = "millis")]
    pub remaining: Option<Duration>,
    /// What the holder told of itself.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// Somebody who waits for a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiterView {
    /// Who.
    pub holder: Option<String>,
    /// How it wants to hold the lock.
    #[serde(flatten, with = "mode")]
    pub mode: Mode,
    /// For how long it has been waiting.
    #[serde(rename = "waiting_ms", with = "millis")]
    pub waiting_for: Option<Duration>,
}

/// Some of the locks that somebody holds or waits for, in the byte order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The locks.
    pub locks: Vec<LockView>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<String>,
}

mod mode {
    use super::{Deserialize, Deserializer, Mode, ModeBody, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
        ModeBody::from(*mode).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Mode, D::Error> {
        ModeBody::deserialize(deserializer).map(Mode::from)
    }
}

/// Whole milliseconds, or `null`.
mod millis {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, milliseconds};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(milliseconds).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let time = Option::<u64>::deserialize(deserializer)?;
        Ok(time.map(Duration::from_millis))
    }
}
