//! Messages in a durable table on this machine's disk.

mod backup;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use durable::{Durable, Keys, OpenError, Options, ReadError, Transaction, WriteError};
use service_kit::health::Readiness;

use crate::digest::Digest;
use crate::message::{Expiry, Message, Moment};
use crate::store::row::{self, Encoded, Row};
use crate::store::{Found, MessageStore, Put, StoreError, settle};
use crate::token::{Token, Written};

pub use self::backup::{restore, verify};

/// Keys are digests, values are rows as [`row`] writes them.
const MESSAGES: &str = "messages";

/// Keys are moments (8 bytes, big-endian) and digests: what may have to go by then.
const EXPIRIES: &str = "expiries";

/// Rows that did not have their digest, as they were found: for people.
const QUARANTINE: &str = "quarantine";

/// The format of the rows.
const FORMAT: u32 = 1;

/// A [`MessageStore`] on a [`Durable`] table.
#[derive(Clone)]
pub struct EmbeddedStore {
    table: Durable,
}

impl EmbeddedStore {
    /// How the table has to be opened.
    #[must_use]
    pub fn options() -> Options {
        Options {
            // Each message is checked by its digest: one that is damaged hides no other.
            check_on_open: false,
            ..Options::new("message-hash", FORMAT)
        }
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

    /// Only committed rows are read here, so a duplicate needs no commit to be durable.
    fn is_durable(&self, message: &Message) -> Result<bool, ReadError> {
        let found = self.table.get(MESSAGES, message.digest.as_bytes())?;
        let (put, expiry) = settle(found.as_deref().map(row::read), message);
        Ok(put == Put::Known && expiry.is_none())
    }
}

#[async_trait]
impl MessageStore for EmbeddedStore {
    async fn put(&self, messages: Vec<Message>) -> Result<Written<Vec<Put>>, StoreError> {
        let mut is_all_durable = true;
        for message in &messages {
            is_all_durable = is_all_durable && self.is_durable(message)?;
        }
        if is_all_durable {
            return Ok(Written::alone(vec![Put::Known; messages.len()]));
        }
        let encoded: Vec<_> = messages
            .into_iter()
            .map(|message| (Encoded::of(&message.body), message))
            .collect();
        let put = self.table.transact(move |tx| {
            encoded
                .iter()
                .map(|(encoded, message)| put_one(tx, encoded, message))
                .collect::<Result<Vec<_>, WriteError>>()
        });
        Ok(Written::alone(put.await?))
    }

    async fn get(&self, digest: &Digest, _: &[Token]) -> Result<Found, StoreError> {
        let found = self.table.get(MESSAGES, digest.as_bytes())?;
        Ok(found.map_or(Found::Absent, |found| row::read(&found).into()))
    }

    async fn delete(&self, digest: &Digest, block: bool) -> Result<Written<bool>, StoreError> {
        let key = *digest.as_bytes();
        let deleted = self.table.transact(move |tx| {
            let found = tx.get(MESSAGES, &key)?;
            let blocks =
                block || found.as_deref().map(row::read) == Some(Row::Tombstone { blocks: true });
            // What was put aside is the message too.
            tx.delete(QUARANTINE, &key);
            if found.is_some() || block {
                tx.put(MESSAGES, &key, &row::tombstone(blocks));
            }
            Ok::<_, WriteError>(found.is_some() || block)
        });
        Ok(Written::alone(deleted.await?))
    }

    async fn quarantine(&self, damaged: &Digest) -> Result<(), StoreError> {
        let digest = *damaged;
        let moved = self.table.transact(move |tx| {
            let key = digest.as_bytes();
            let Some(found) = tx.get(MESSAGES, key)? else {
                return Ok(());
            };
            // Somebody may have put it again meanwhile.
            let is_damaged = match row::read(&found) {
                Row::Body(body, _) => Digest::of(&body) != digest,
                Row::Damaged => found != row::damaged(),
                Row::Tombstone { .. } => false,
            };
            if is_damaged {
                tx.put(QUARANTINE, key, &found);
                tx.put(MESSAGES, key, &row::damaged());
            }
            Ok::<_, WriteError>(())
        });
        Ok(moved.await?)
    }

    async fn page(
        &self,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Found)>, StoreError> {
        let keys = match after {
            None => Keys::all(),
            Some(after) => Keys::all().after(after.as_bytes()),
        };
        let rows = self.table.scan(MESSAGES, &keys, limit)?;
        let messages = rows.iter().filter_map(|(key, found)| {
            let digest = Digest::from_bytes(key)?;
            Some((digest, row::read(found).into()))
        });
        Ok(messages.collect())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.table.count(MESSAGES)?)
    }

    async fn expire(&self, limit: usize) -> Result<usize, StoreError> {
        let until = (Moment::now().0.saturating_add(1)).to_be_bytes();
        let due = Keys::between(&[], &until);
        if self.table.scan(EXPIRIES, &due, 1)?.is_empty() {
            return Ok(0);
        }
        let removed = self.table.transact(move |tx| {
            let mut removed = 0;
            for (entry, _) in tx.scan(EXPIRIES, &due, limit)? {
                let key = &entry[8..];
                let found = tx.get(MESSAGES, key)?;
                // It may have been put again, for longer.
                if let Some(Row::Body(_, expiry)) = found.as_deref().map(row::read)
                    && expiry.has_passed()
                {
                    tx.delete(MESSAGES, key);
                    removed += 1;
                }
                tx.delete(EXPIRIES, &entry);
            }
            Ok::<_, WriteError>(removed)
        });
        Ok(removed.await?)
    }
}

fn put_one(
    tx: &mut Transaction<'_>,
    encoded: &Encoded,
    message: &Message,
) -> Result<Put, WriteError> {
    let key = message.digest.as_bytes();
    let found = tx.get(MESSAGES, key)?;
    let (put, expiry) = settle(found.as_deref().map(row::read), message);
    if let Some(expiry) = expiry {
        tx.put(MESSAGES, key, &encoded.row(expiry));
        if let Expiry::At(Moment(moment)) = expiry {
            let entry = [&moment.to_be_bytes(), key.as_slice()].concat();
            tx.put(EXPIRIES, &entry, &[]);
        }
    }
    Ok(put)
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

impl From<ReadError> for StoreError {
    fn from(fault: ReadError) -> Self {
        Self::Unavailable(Arc::new(fault))
    }
}

impl From<WriteError> for StoreError {
    fn from(fault: WriteError) -> Self {
        match fault {
            WriteError::Busy => Self::Busy,
            WriteError::Closed
            | WriteError::Panicked
            | WriteError::Poisoned
            | WriteError::Read(_) => Self::Unavailable(Arc::new(fault)),
        }
    }
}
