//! Documents that are moved by check-and-set: all that the allocation asks of a store.
//!
//! The semantics are those of Vault KV v2, whatever the store stands on: each path counts its writes
//! from version 1, a write names the version it replaces, and 0 stands for "nothing was ever written
//! here". A deleted document keeps its version.

pub mod embedded;
pub mod measured;
pub mod vault;
pub mod watched;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

/// Place of a document: segments parted by `/`, each of them legal in a hostname.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentPath(String);

impl DocumentPath {
    /// The path made of `segments`.
    pub fn new(segments: &[&str]) -> Self {
        Self(segments.join("/"))
    }

    /// A path in the folder at this one.
    pub fn child(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DocumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read<T> {
    /// Nothing. A node that lags behind says so too: only a write with `cas` 0 proves it.
    Absent,
    /// Deleted by hand; the version lives on.
    Deleted {
        /// Version of what was deleted.
        version: u64,
    },
    /// A document. It may be older than the newest one.
    Present {
        /// Its version.
        version: u64,
        /// What was written.
        data: T,
    },
}

impl<T> Read<T> {
    /// The version that the read proves; 0 when it found nothing.
    pub fn version(&self) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Deleted { version } | Self::Present { version, .. } => *version,
        }
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Written; the version is the `cas` of the write plus one.
    Written,
    /// The path is at another version; nothing was written.
    Mismatch,
}

/// Name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Child {
    /// A document.
    Document(String),
    /// A folder.
    Folder(String),
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or failed. Nothing was written.
    #[error("the store of hostnames is unavailable")]
    Unavailable(#[source] anyhow::Error),
    /// It is up and sealed. Nothing was written.
    #[error("the store of hostnames is sealed")]
    Sealed,
    /// It asks for a pause. Nothing was written.
    #[error("the store of hostnames asks to slow down")]
    Busy {
        /// How long.
        retry_after: Duration,
    },
    /// No answer came that can be relied on: **a write may have happened, or may still happen**.
    #[error("the store of hostnames gave no usable answer")]
    Unknown(#[source] anyhow::Error),
    /// It will write nothing here, and nothing was found here. Where documents may be made but not
    /// changed, it says so of one that is there: the read that found nothing may have been stale.
    #[error("the store of hostnames denies the write")]
    Denied(#[source] anyhow::Error),
    /// It understood and will not: a permission is missing, a document is too large.
    #[error("the store of hostnames refuses the call")]
    Refused(#[source] anyhow::Error),
}

/// A store of documents. Each verb is one atomic step.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Reads a document with its version.
    async fn read(&self, path: &DocumentPath) -> Result<Read<Value>, StoreError>;

    /// Writes a document if the path is at version `cas`. The same write again, with the same `cas`,
    /// is safe: at most one of the two is ever accepted.
    async fn write(&self, path: &DocumentPath, cas: u64, data: &Value)
    -> Result<Write, StoreError>;

    /// Names in a folder, sorted; none when there is no such folder.
    async fn list(&self, folder: &DocumentPath) -> Result<Vec<Child>, StoreError>;

    /// Whether the store answers us.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Resolves when the store is known to be away: nobody need wait for it any longer.
    async fn away(&self) -> Arc<StoreError>;
}
