//! Where messages are kept: a map from digest to body that never changes a body.

pub mod embedded;
pub mod postgres;
mod row;

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use durable::{BackupError, Progress};

use crate::digest::Digest;
use crate::message::{Expiry, Message};
use crate::store::row::Row;
use crate::token::{Token, Written};

/// Keeps bodies under their digests.
#[async_trait]
pub trait MessageStore: Send + Sync {
    /// Keeps all of `messages`, or fails for all; answers only when they would survive a crash.
    ///
    /// A message that is there already is kept for as long as the longer of both expiries says.
    async fn put(&self, messages: Vec<Message>) -> Result<Written<Vec<Put>>, StoreError>;

    /// What is known of `digest`, at least what was known at the places that `seen` tells. A body is
    /// as it was read: whether it has its digest is for the caller to see.
    async fn get(&self, digest: &Digest, seen: &[Token]) -> Result<Found, StoreError>;

    /// Takes the message away and leaves a tombstone; with `block` it refuses further puts, and is
    /// left also where nothing was. `false` when nothing was known of it and nothing is.
    async fn delete(&self, digest: &Digest, block: bool) -> Result<Written<bool>, StoreError>;

    /// Puts a body aside that does not have its digest: it is found as damaged until the message
    /// is put again.
    async fn quarantine(&self, damaged: &Digest) -> Result<(), StoreError>;

    /// The next `limit` messages, whatever is known of them, in the order of their digests.
    async fn page(
        &self,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Found)>, StoreError>;

    /// About how many digests something is known of.
    async fn count(&self) -> Result<u64, StoreError>;

    /// Removes up to `limit` messages whose time has come, and tells how many.
    async fn expire(&self, limit: usize) -> Result<usize, StoreError>;
}

/// A store that can be written into one file while it is in use.
pub trait Backup: Send + Sync {
    /// Writes everything that was kept at one moment to `out`, and tells how much that was.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or `out` not be written.
    fn backup(
        &self,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Summary, BackupError>;
}

/// A store that other replicas of the service use, too.
#[async_trait]
pub trait Shared: Send + Sync {
    /// The message, if it can be had without asking whoever alone can say that there is none.
    async fn get_nearby(&self, digest: &Digest) -> Option<Found>;

    /// Tells what it hears of deletions, its own too, for as long as it is polled.
    async fn hear_forever(&self, heard: &(dyn Fn(Heard) + Send + Sync));
}

/// What was heard of deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Somebody deleted this message.
    Deleted(Digest),
    /// From here on everything is heard; what came before may have been missed.
    Missed,
}

/// What went into a backup, or came out of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows of all kinds.
    pub rows: u64,
    /// Messages that did not have their digest, and are only marked as such.
    pub damaged: u64,
}

/// What a put found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Nothing was there.
    New,
    /// The same body was there.
    Known,
    /// Another body was there, which cannot be: it was damaged, and is now replaced.
    Mended,
    /// A tombstone refuses it; nothing was written.
    Blocked,
}

/// What a store knows of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A body, and how long it is kept.
    Message(Bytes, Expiry),
    /// It was deleted, and may be refused from now on.
    Deleted {
        /// Whether it is.
        blocks: bool,
    },
    /// What is there was found damaged before, or cannot be decoded.
    Damaged,
    /// There is none; not that it could not be read.
    Absent,
}

/// What a put finds, and until when the message has to be written; `None` when not at all.
fn settle(found: Option<Row>, message: &Message) -> (Put, Option<Expiry>) {
    let new = message.expiry;
    match found {
        None | Some(Row::Tombstone { blocks: false }) => (Put::New, Some(new)),
        Some(Row::Tombstone { blocks: true }) => (Put::Blocked, None),
        Some(Row::Body(body, expiry)) if body == message.body => {
            if expiry.has_passed() {
                (Put::New, Some(new))
            } else {
                (Put::Known, (new > expiry).then_some(new))
            }
        }
        Some(Row::Body(..) | Row::Damaged) => (Put::Mended, Some(new)),
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Too much to do at the moment.
    #[error("the store has too much to do")]
    Busy,
    /// It failed; whether a put took effect is not known.
    #[error("the store is not available")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
}
