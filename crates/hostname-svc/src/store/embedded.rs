//! Documents in a directory of this machine, for one replica.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::anyhow;
use async_trait::async_trait;
use durable::{Durable, Keys, OpenError, Options, ReadError, WriteError};
use serde_json::Value;

use super::{Child, DocumentPath, DocumentStore, Read, StoreError, Write};

const TABLE: &str = "documents";
const VERSION_BYTES: usize = 8;
/// When to come again to a full queue: it is emptied by one commit.
const FULL: Duration = Duration::from_millis(50);

/// A store on [`durable`]: a write answers after its `fsync`.
pub struct EmbeddedStore {
    table: Durable,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, which is created when it is not there.
    ///
    /// # Errors
    /// The directory is in use, is not ours, or cannot be read.
    pub fn open(dir: &Path) -> Result<Arc<Self>, OpenError> {
        let options = Options {
            max_queue: 8192,
            ..Options::new("hostname-svc", 1)
        };
        let table = Durable::open(dir, options)?;
        Ok(Arc::new(Self { table }))
    }

    /// Resolves when a write to the disk has failed: the process should end.
    pub async fn poisoned(&self) {
        self.table.poisoned().await;
    }

    /// Whether one has.
    pub fn is_poisoned(&self) -> bool {
        self.table.is_poisoned()
    }
}

#[async_trait]
impl DocumentStore for EmbeddedStore {
    async fn read(&self, path: &DocumentPath) -> Result<Read<Value>, StoreError> {
        match self.table.get(TABLE, path.as_str().as_bytes())? {
            None => Ok(Read::Absent),
            Some(row) => {
                let (version, data) = parse(&row).map_err(|error| broken(path, error))?;
                let data =
                    serde_json::from_slice(data).map_err(|error| broken(path, error.into()))?;
                Ok(Read::Present { version, data })
            }
        }
    }

    async fn write(
        &self,
        path: &DocumentPath,
        cas: u64,
        data: &Value,
    ) -> Result<Write, StoreError> {
        let mut row = (cas + 1).to_be_bytes().to_vec();
        serde_json::to_writer(&mut row, data).map_err(|error| broken(path, error.into()))?;
        let path = path.clone();
        self.table
            .transact(move |tx| {
                let key = path.as_str().as_bytes();
                let version = match tx.get(TABLE, key)? {
                    None => 0,
                    Some(row) => parse(&row).map_err(|error| broken(&path, error))?.0,
                };
                if version != cas {
                    return Ok(Write::Mismatch);
                }
                tx.put(TABLE, key, &row);
                Ok(Write::Written)
            })
            .await
    }

    async fn list(&self, folder: &DocumentPath) -> Result<Vec<Child>, StoreError> {
        let inside = format!("{folder}/");
        let mut children = Vec::new();
        let mut rest = Keys::prefix(inside.as_bytes());
        while let Some((key, _)) = self.table.scan(TABLE, &rest, 1)?.pop() {
            let name = String::from_utf8_lossy(&key[inside.len()..]).into_owned();
            match name.split_once('/') {
                None => {
                    children.push(Child::Document(name));
                    rest = rest.after(&key);
                }
                Some((name, _)) => {
                    children.push(Child::Folder(name.to_owned()));
                    let mut end = format!("{inside}{name}/").into_bytes();
                    end.push(u8::MAX);
                    rest = rest.after(&end);
                }
            }
        }
        children.sort();
        Ok(children)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.table.get(TABLE, b"")?;
        Ok(())
    }

    async fn away(&self) -> Arc<StoreError> {
        std::future::pending().await
    }
}

/// A row is the version, big-endian, and the document.
fn parse(row: &[u8]) -> anyhow::Result<(u64, &[u8])> {
    let (version, data) = row
        .split_first_chunk::<VERSION_BYTES>()
        .ok_or_else(|| anyhow!("a row of {} bytes is no document", row.len()))?;
    Ok((u64::from_be_bytes(*version), data))
}

fn broken(path: &DocumentPath, error: anyhow::Error) -> StoreError {
    StoreError::Refused(error.context(format!("the document {path} cannot be read")))
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Busy => Self::Busy { retry_after: FULL },
            WriteError::Poisoned => Self::Unknown(error.into()),
            WriteError::Closed | WriteError::Panicked | WriteError::Read(_) => {
                Self::Unavailable(error.into())
            }
        }
    }
}
