//! Messages in a durable table on this machine's disk.

use std::path::Path;

use async_trait::async_trait;
use durable::{Durable, OpenError, Options, ReadError, WriteError};
use service_kit::health::Readiness;

use crate::digest::Digest;
use crate::store::{MessageStore, Put, StoreError};

/// Keys are digests, values are [`row_of`] bodies.
const MESSAGES: &str = "messages";

/// The format of the rows.
const FORMAT: u32 = 1;

/// What each row begins with: how the body is encoded (0: as it is) and when it expires (0: never).
const PLAIN_FOREVER: [u8; 2] = [0, 0];

/// A [`MessageStore`] on a [`Durable`] table.
#[derive(Clone)]
pub struct EmbeddedStore {
    table: Durable,
}

impl EmbeddedStore {
    /// How the table has to be opened.
    #[must_use]
    pub fn options() -> Options {
        Options::new("message-hash", FORMAT)
    }

    /// Opens the table in `dir`, which is created when it is not there.
    ///
    /// # Errors
    ///
    /// As for [`Durable::open`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let table = Durable::open(dir, options)?;
        Ok(Self { table })
    }

    /// Resolves when a commit has failed: the process should end, and not with success.
    pub async fn poisoned(&self) {
        self.table.poisoned().await;
    }

    /// Whether a commit has failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.table.is_poisoned()
    }

    /// Finishes what waits, and closes the file when this is the last handle.
    pub async fn close(self) {
        self.table.close().await;
    }
}

#[async_trait]
impl MessageStore for EmbeddedStore {
    async fn put(&self, digest: &Digest, body: &[u8]) -> Result<Put, StoreError> {
        let key = *digest.as_bytes();
        let row = row_of(body);
        // Only committed rows are read here, so a duplicate needs no commit to be durable.
        if self.table.get(MESSAGES, &key)?.as_ref() == Some(&row) {
            return Ok(Put::Known);
        }
        let put = self.table.transact(move |tx| {
            let found = match tx.get(MESSAGES, &key)? {
                Some(known) if known == row => return Ok::<_, WriteError>(Put::Known),
                Some(_) => Put::Mended,
                None => Put::New,
            };
            tx.put(MESSAGES, &key, &row);
            Ok(found)
        });
        Ok(put.await?)
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.table.get(MESSAGES, digest.as_bytes())?;
        row.map(body_of).transpose()
    }
}

#[async_trait]
impl Readiness for EmbeddedStore {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn check(&self) -> Result<(), String> {
        match self.table.get(MESSAGES, &[]) {
            Ok(_) => Ok(()),
            Err(fault) => Err(fault.to_string()),
        }
    }
}

fn row_of(body: &[u8]) -> Vec<u8> {
    [&PLAIN_FOREVER, body].concat()
}

fn body_of(mut row: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    if !row.starts_with(&PLAIN_FOREVER) {
        return Err(StoreError::Unavailable(
            "a row has an unknown encoding".into(),
        ));
    }
    row.drain(..PLAIN_FOREVER.len());
    Ok(row)
}

impl From<ReadError> for StoreError {
    fn from(fault: ReadError) -> Self {
        Self::Unavailable(Box::new(fault))
    }
}

impl From<WriteError> for StoreError {
    fn from(fault: WriteError) -> Self {
        match fault {
            WriteError::Busy => Self::Busy,
            WriteError::Closed
            | WriteError::Panicked
            | WriteError::Poisoned
            | WriteError::Read(_) => Self::Unavailable(Box::new(fault)),
        }
    }
}
