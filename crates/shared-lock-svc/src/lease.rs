//! The values that every layer speaks of: keys, holders, leases, tokens; below it what is asked for
//! (`request`), what is shown (`view`) and what happens (`event`). No I/O.

mod event;
mod request;
mod view;

use std::{borrow::Borrow, collections::BTreeMap, fmt, num::NonZeroU64, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    event::{EventKind, LockEvent},
    request::{
        AcquireAllRequest, AcquireRequest, Acquisition, AllAcquired, AllAcquisition, Anchor, Claim,
        Held, Mode, Session, SessionRequest, Tenure, Until, Verified, WantedLock,
    },
    view::{HolderView, LockPage, LockView, PageRequest, WaiterView},
};

/// Why a value from outside was refused: a sentence that says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Name of a lock.
///
/// `/v1` takes 1–1024 bytes of UTF-8 without control characters ([`LockKey::parse`]); the
/// tentens-tech/shared-lock wire takes any string of up to 1024 bytes, the empty one too
/// ([`LockKey::parse_compat`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LockKey(Arc<str>);

impl LockKey {
    const MAX_BYTES: usize = 1024;

    /// A key under the rule of `/v1`.
    ///
    /// # Errors
    /// Says which part of the rule the key breaks.
    pub fn parse(key: impl Into<String>) -> Result<Self, Refused> {
        let key = Self::parse_compat(key)?;
        if key.0.is_empty() {
            return Err(Refused("must not be empty".into()));
        }
        if key.0.chars().any(char::is_control) {
            return Err(Refused("must not contain control characters".into()));
        }
        Ok(key)
    }

    /// A key under the rule of the tentens-tech/shared-lock wire.
    ///
    /// # Errors
    /// The key is longer than 1024 bytes.
    pub fn parse_compat(key: impl Into<String>) -> Result<Self, Refused> {
        let key = key.into();
        if key.len() > Self::MAX_BYTES {
            return Err(Refused(format!(
                "must be at most {} bytes, was {}",
                Self::MAX_BYTES,
                key.len()
            )));
        }
        Ok(Self(key.into()))
    }
}

impl Borrow<str> for LockKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LockKey {
    type Error = Refused;

    fn try_from(key: String) -> Result<Self, Refused> {
        Self::parse_compat(key)
    }
}

/// Who holds or wants a lock, as it calls itself: 1–256 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Holder(Arc<str>);

impl Holder {
    /// Who has not said who it is.
    pub fn unnamed() -> Self {
        Self("unnamed".into())
    }
}

/// Names one request to acquire: 1–64 characters of `A–Z a–z 0–9 - _ .`; one id is one tenure.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A request id that nobody has used.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }
}

impl TryFrom<String> for Holder {
    type Error = Refused;

    fn try_from(holder: String) -> Result<Self, Refused> {
        if holder.is_empty() || holder.len() > 256 || holder.chars().any(char::is_control) {
            return Err(Refused(
                "must be 1 to 256 bytes without control characters".into(),
            ));
        }
        Ok(Self(holder.into()))
    }
}

impl TryFrom<String> for RequestId {
    type Error = Refused;

    fn try_from(id: String) -> Result<Self, Refused> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if id.is_empty() || id.len() > 64 || !id.chars().all(legal) {
            return Err(Refused(
                "must be 1 to 64 characters of A-Z, a-z, 0-9, '-', '_' and '.'".into(),
            ));
        }
        Ok(Self(id.into()))
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.as_ref().to_owned()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
text!(LockKey, Holder, RequestId, Note);

/// Identity of a lease, as the store gave it. An int64 in etcd: a decimal string in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LeaseId(pub i64);

impl FromStr for LeaseId {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let rule = "must be a lease id: a decimal int64 in a string";
        let id = text.parse().ok().filter(|_| has_no_plus(text));
        id.map(Self).ok_or_else(|| Refused(rule.into()))
    }
}

/// Grows strictly with every grant of a lock: the etcd mod revision of the holder key that the
/// grant wrote. Tokens compare only within one token epoch. A decimal string in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FencingToken(pub NonZeroU64);

impl FromStr for FencingToken {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let rule = "must be a fencing token: a positive decimal number in a string";
        let token = text.parse().ok().filter(|_| has_no_plus(text));
        token.map(Self).ok_or_else(|| Refused(rule.into()))
    }
}

/// Whether a number begins without the plus that Rust would take.
fn has_no_plus(text: &str) -> bool {
    !text.starts_with('+')
}

macro_rules! number {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = Refused;

            fn try_from(text: String) -> Result<Self, Refused> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.to_string()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
number!(LeaseId, FencingToken);

/// What a holder says about itself: at most 32 entries, 4 KiB in all.
pub type Metadata = BTreeMap<String, String>;

/// A word from one holder of a lock to the next: at most 1024 bytes. It outlives every lease and stays
/// until another release writes over it; an empty one clears it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(Arc<str>);

impl TryFrom<String> for Note {
    type Error = Refused;

    fn try_from(note: String) -> Result<Self, Refused> {
        if note.len() > 1024 {
            return Err(Refused(format!(
                "must be at most 1024 bytes, was {}",
                note.len()
            )));
        }
        Ok(Self(note.into()))
    }
}
