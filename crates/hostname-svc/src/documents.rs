//! What is stored: the counter of a prefix, one document per idempotency key, one record per hostname,
//! one per stem. All carry a format number; a document in a format that is not ours is not understood.

pub mod layout;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use sha2::{Digest, Sha256};

use crate::hostname::{Application, Counter, Environment, Hostname, Prefix, Role};

/// Number of the format that this version reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Format;

impl Format {
    const NUMBER: u32 = 1;
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            Self::NUMBER => Ok(Self),
            other => Err(D::Error::custom(format!(
                "format {other} is not known here; this version knows format {}",
                Self::NUMBER
            ))),
        }
    }
}

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
    use super::*;

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// A value as the text of its JSON. Vault and OpenBao refuse a request with more than a thousand or so
/// strings in it ("high complexity"), which some fifty entries have; a text is one string.
mod json_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(value).map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, T: de::DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What a record says beside its name: fixed when the counter is moved, so that whoever writes the
/// record writes the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The request that asked.
    pub request_id: String,
    /// When it asked.
    pub created_at: Timestamp,
    /// The replica that moved the counter.
    pub instance: String,
    /// Whom the name is for, as the caller says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// What it is for, as the caller says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Labels of the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The counter of a prefix, and what is not settled yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CounterDocument {
    /// Format of this document.
    pub format: Format,
    /// The highest number given.
    pub value: u64,
    /// The lock under which it was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// Allocations whose records are perhaps not written yet. Whoever moves the counter next settles
    /// every one of them first.
    #[serde(with = "json_text")]
    pub pending: Vec<Entry>,
    /// Numbers that became no hostname of this prefix, and why.
    #[serde(with = "json_text")]
    pub skipped: BTreeMap<u64, Skip>,
}

/// An allocation on its way from the counter to its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose it is.
    pub owner: Owner,
    /// SHA-256 of what was asked, in hex: the same key with another body is told so.
    pub body_hash: String,
    /// The numbers given.
    pub numbers: Vec<Counter>,
    /// Version of the key's document that this entry replaces: 0, and one more with each replacement
    /// of a number that was taken.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// Why there will be no name; the numbers left are the ones that were recorded already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<GivenUp>,
    /// The lock under which it was allocated.
    pub lock: Fence,
    /// What its records will say.
    pub facts: Facts,
}

/// Why an allocation ended without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenUp {
    /// No number is left that fits into a label.
    Exhausted,
    /// Each number tried was taken by somebody else.
    AlwaysTaken,
}

/// A number that became no hostname of this prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Why.
    pub why: SkipReason,
    /// Who has the hostname, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The number that was given in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Counter>,
}

/// Why a number was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SkipReason {
    /// Its hostname belongs to somebody else.
    Taken,
    /// It was a second number for a key that had one.
    Duplicate,
}

impl SkipReason {
    /// The reason as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Duplicate => "duplicate",
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

/// The audit record of a hostname: written once, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format of this document.
    pub format: Format,
    /// The name.
    pub hostname: Hostname,
    /// The application.
    pub application: Application,
    /// The role.
    pub role: Role,
    /// The number in it.
    pub counter: Counter,
    /// The environment.
    pub environment: Environment,
    /// Whose it is.
    pub owner: Owner,
    /// The lock under which it was allocated.
    pub lock: Fence,
    /// The rest.
    #[serde(flatten)]
    pub facts: Facts,
}

/// What lies where a record would be. Somebody may have put a document of his own there, by hand or
/// before our time: then the hostname is taken, whatever it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredRecord {
    /// One of ours.
    Ours(Box<Record>),
    /// It carries no format number, so it is not ours.
    Foreign,
}

impl StoredRecord {
    /// The record, if it is one of ours.
    pub fn ours(self) -> Option<Record> {
        match self {
            Self::Ours(record) => Some(*record),
            Self::Foreign => None,
        }
    }
}

impl<'de> Deserialize<'de> for StoredRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = serde_json::Value::deserialize(deserializer)?;
        if document.get("format").is_none_or(|format| !format.is_u64()) {
            return Ok(Self::Foreign);
        }
        let record = Record::deserialize(document).map_err(D::Error::custom)?;
        Ok(Self::Ours(Box::new(record)))
    }
}

/// Who uses a stem: the first prefix that did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemDocument {
    /// Format of this document.
    pub format: Format,
    /// The application that ends where the role begins.
    pub application: Application,
    /// The role.
    pub role: Role,
}

impl Entry {
    /// The document of its key.
    pub fn idem(&self, prefix: &Prefix) -> IdemDocument {
        IdemDocument {
            format: Format,
            prefix: prefix.clone(),
            body_hash: self.body_hash.clone(),
            numbers: self.numbers.clone(),
            failed: self.failed,
        }
    }

    /// Its record for `counter`, whose hostname is `hostname`.
    pub fn record(&self, prefix: &Prefix, counter: Counter, hostname: Hostname) -> Record {
        Record {
            format: Format,
            hostname,
            application: prefix.application.clone(),
            role: prefix.role.clone(),
            counter,
            environment: prefix.environment.clone(),
            owner: self.owner.clone(),
            lock: self.lock.clone(),
            facts: self.facts.clone(),
        }
    }
}

impl Record {
    /// Whether this is the record of `counter` of `prefix` for `owner`.
    pub fn is_of(&self, owner: &Owner, prefix: &Prefix, counter: Counter) -> bool {
        self.owner == *owner
            && self.counter == counter
            && self.application == prefix.application
            && self.role == prefix.role
            && self.environment == prefix.environment
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exhausted => {
                "no number is left whose hostname fits into a label of 63 characters"
            }
            Self::AlwaysTaken => "every number tried was taken by somebody else",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_at_the_place_of_a_record_is_foreign_when_it_names_no_format() {
        for foreign in [
            json!({}),
            json!({ "owner": "me" }),
            json!({ "format": "x" }),
            json!(7),
        ] {
            let stored: StoredRecord = serde_json::from_value(foreign).unwrap();
            assert_eq!(stored, StoredRecord::Foreign);
        }
        serde_json::from_value::<StoredRecord>(json!({ "format": 2 })).unwrap_err();
    }

    #[test]
    fn a_document_of_an_unknown_format_is_refused() {
        let refused = serde_json::from_value::<CounterDocument>(json!({ "format": 2, "value": 7 }));
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("format 2 is not known here")
        );
    }

    #[test]
    fn a_counter_survives_its_json() {
        let pending = json!([{
            "owner": { "key": "ab" }, "body_hash": "cd", "numbers": [3], "gen": 1,
            "lock": { "fencing_token": "7", "token_epoch": "e" },
            "facts": { "request_id": "r", "created_at": "2026-01-02T03:04:05.678Z", "instance": "i" },
        }]);
        let skipped = json!({ "2": { "why": "taken", "owner": { "request": "x" }, "next": 3 } });
        let parse = |text: &serde_json::Value| {
            serde_json::from_str::<serde_json::Value>(text.as_str().unwrap()).unwrap()
        };
        let document = json!({
            "format": 1, "value": 3, "fence": { "fencing_token": "9007199254740993", "token_epoch": "e" },
            "pending": pending.to_string(), "skipped": skipped.to_string(),
        });
        let counter: CounterDocument = serde_json::from_value(document.clone()).unwrap();
        let written = serde_json::to_value(&counter).unwrap();
        assert_eq!(parse(&written["pending"]), pending);
        assert_eq!(parse(&written["skipped"]), skipped);
        assert_eq!(counter.fence.unwrap().token, 9_007_199_254_740_993);
    }

    #[test]
    fn paths_of_different_prefixes_are_different() {
        let prefix = |a: &str, r: &str| {
            Prefix::new(
                a.to_owned().try_into().unwrap(),
                r.to_owned().try_into().unwrap(),
                "dev".to_owned().try_into().unwrap(),
            )
            .unwrap()
        };
        assert_ne!(
            layout::counter(&prefix("a-b", "c")),
            layout::counter(&prefix("a", "b-c"))
        );
        assert_eq!(
            layout::counter(&prefix("a-b", "c")).as_str(),
            "counters/a-b/c/dev"
        );
        assert_eq!(
            layout::stem(&prefix("web", "app")),
            layout::stem(&prefix("we", "bapp"))
        );
    }

    #[test]
    fn principal_and_key_do_not_run_into_each_other() {
        assert_ne!(KeyHash::new("a", "bc"), KeyHash::new("ab", "c"));
    }
}
