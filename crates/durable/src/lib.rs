//! A durable table: redb behind a timerless group commit.
//!
//! A [`Durable`] is a directory that holds named tables of ordered keys. Writes are closures
//! ([`Durable::transact`]); one thread takes whatever closures wait, runs them one after the other,
//! commits what they wrote in one redb transaction and answers all of them only after the `fsync`.
//! While one group is being synced the next one gathers, so groups grow with the load by
//! themselves and a lone write waits for nobody.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::env::temp_dir().join(format!("durable-doc-{}", std::process::id()));
//! use durable::{Durable, Options, WriteError};
//!
//! let table = Durable::open(&dir, Options::new("example", 1))?;
//! let visits = table
//!     .transact(|tx| {
//!         let seen = tx.get("visits", b"home")?.map_or(0, |row| row[0]);
//!         tx.put("visits", b"home", &[seen + 1]);
//!         Ok::<_, WriteError>(seen + 1)
//!     })
//!     .await?;
//! assert_eq!(table.get("visits", b"home")?, Some(vec![visits]));
//! # table.close().await;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - `transact` answers `Ok` only when everything the closure wrote, and everything it read, has
//!   been synced to disk.
//! - A closure that returns `Err` or panics leaves nothing behind and disturbs nobody else of its
//!   group: its writes are kept apart until it returned `Ok`.
//! - After a commit failed nobody knows what is on the disk: the kernel may have thrown the pages
//!   away and still show them as written. So every waiter fails, the table is
//!   [poisoned](Durable::poisoned) for good, and the next [`Durable::open`] copies every row into a
//!   new file before it trusts one of them.
//! - One process at a time: the directory is locked.
//! - [`Durable::backup`] writes all rows as they were at one moment while the table is in use;
//!   [`restore`] makes a table of them only when it has read them all and found them sound.

mod backup;
mod commit;
mod error;
#[doc(hidden)]
pub mod faults;
mod guard;
mod keys;
mod options;
mod recovery;
mod snapshot;
mod transaction;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

pub use crate::backup::{Pass, Progress, restore, verify};
pub use crate::error::{BackupError, OpenError, ReadError, WriteError};
pub use crate::keys::Keys;
pub use crate::options::{Commit, OnCommit, Options};
pub use crate::transaction::Transaction;

use crate::commit::{Call, Committer, Message};
use crate::recovery::Opened;
use crate::snapshot::Snapshot;

/// One key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A directory of durable tables; clones share it.
#[derive(Clone)]
pub struct Durable {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
}

/// What the handles and the committing thread have in common.
pub(crate) struct Shared {
    pub(crate) opened: Opened,
    pub(crate) application: &'static str,
    pub(crate) format: u32,
    /// Turns true once, when a commit has failed.
    pub(crate) poisoned: watch::Sender<bool>,
}

impl Durable {
    /// Opens the table in `dir`, which is created when it is not there.
    ///
    /// After an unclean end this is quick while the file is smaller than
    /// [`Options::quick_repair_below`]; after a failed commit it copies every row into a new file.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] when another process has the directory, [`OpenError::Format`] and
    /// [`OpenError::Foreign`] when what is stored is not ours to read, [`OpenError::Damaged`] when
    /// the file is not as it was written, and otherwise what the file system or redb had to say.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let opened = recovery::open(dir.as_ref(), &options)?;
        let (sender, receiver) = mpsc::channel(options.max_queue.max(1));
        let shared = Arc::new(Shared {
            opened,
            application: options.application,
            format: options.format,
            poisoned: watch::Sender::new(false),
        });
        Committer::new(Arc::clone(&shared), receiver, options).spawn()?;
        Ok(Self {
            shared,
            queue: sender,
        })
    }

    /// The durable value of `key`. Reads what is committed, never what waits to be.
    ///
    /// It runs where it is called: a row in the page cache takes microseconds.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the store is poisoned or cannot be read. A missing table is an empty one.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.snapshot()?.get(table, key)
    }

    /// The first `limit` durable rows of `table` within `keys`, in the order of the keys.
    ///
    /// # Errors
    ///
    /// As for [`Durable::get`].
    pub fn scan(&self, table: &str, keys: &Keys, limit: usize) -> Result<Vec<Row>, ReadError> {
        self.snapshot()?.scan(table, keys, limit)
    }

    /// How many durable rows `table` has.
    ///
    /// # Errors
    ///
    /// As for [`Durable::get`].
    pub fn count(&self, table: &str) -> Result<u64, ReadError> {
        self.snapshot()?.count(table)
    }

    /// Runs `job` on the committing thread and answers once all it wrote is on disk.
    ///
    /// Jobs run one at a time, in the order in which they were queued, and each sees what the ones
    /// before it wrote. When `job` returns `Err`, nothing it wrote is kept. It runs on the thread
    /// that everybody's writes wait for, so it should only compute and use its [`Transaction`].
    /// Dropping the future does not take back a job that is already queued.
    ///
    /// # Errors
    ///
    /// Whatever `job` returned, or a [`WriteError`]. After [`WriteError::Poisoned`] it is not known
    /// whether the writes survive; after every other error they do not.
    pub async fn transact<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<WriteError> + Send + 'static,
    {
        if self.is_poisoned() {
            return Err(WriteError::Poisoned.into());
        }
        let (answer, outcome) = oneshot::channel();
        let call = Message::Job(Box::new(Call::new(job, answer)));
        self.queue.try_send(call).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriteError::Closed,
        })?;
        outcome
            .await
            .unwrap_or_else(|_| Err(WriteError::Closed.into()))
    }

    /// Resolves when a commit has failed. The process should then end, and not with success: only
    /// [`Durable::open`] in a new one makes the table usable again.
    pub async fn poisoned(&self) {
        // The sender lives in `shared`, so waiting can only end by the value turning true.
        let _ = self.shared.poisoned.subscribe().wait_for(|it| *it).await;
    }

    /// Whether a commit has failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        *self.shared.poisoned.borrow()
    }

    /// How many jobs wait to be run.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Takes no more jobs, waits for the queued ones, and ends the committing thread.
    ///
    /// When this was the last handle, the file has been closed cleanly and the directory is free
    /// once this returns.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    fn snapshot(&self) -> Result<Snapshot, ReadError> {
        if self.is_poisoned() {
            return Err(ReadError::Poisoned);
        }
        Snapshot::of(&self.shared.opened.database)
    }
}
