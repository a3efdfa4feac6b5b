//! The audit record of a hostname.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{Fence, Format, Moment, Owner};
use crate::hostname::{Application, Counter, Environment, Hostname, Prefix, Role};

/// What a record says beside its name: fixed when the counter is moved, so that whoever writes the
/// record writes the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The request that asked.
    pub request_id: String,
    /// When it asked.
    pub created_at: Moment,
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
    /// The lock under which it was allocated; none while the lock service was away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Fence>,
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
}
