//! Locks on a disk of this process's own: for one replica, which may be killed at any time.
//!
//! What is durable: sessions, who holds which lock, which locks rest after an expiry, the notes that
//! holders left, the largest token ever granted, and the requests that have ended. Keepalives are
//! not, and waiters are not: a restart gives every lease and every delay its full life again and
//! finds the queues empty. Nobody hears of a change before it has been synced.

mod journal;
mod rows;

use std::{path::Path, sync::Arc};

use durable::{Durable, OpenError, Options, ReadError};
use tokio::sync::watch;

use self::journal::DiskJournal;
use super::machine::{Clock, Machine, OnMachine};
use crate::state::Table;

/// A store in a directory.
pub struct EmbeddedStore {
    machine: Machine,
    disk: Durable,
    /// How far the disk is.
    written: watch::Receiver<u64>,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The directory cannot be used.
    #[error("cannot open the lock store")]
    Open(#[from] OpenError),
    /// Its rows cannot be read.
    #[error("cannot read the lock store")]
    Read(#[from] ReadError),
    /// A row is not one of ours.
    #[error("a row of the lock store cannot be understood: {0}")]
    Row(String),
    /// The first row, which names the life of the store, could not be written.
    #[error("cannot write to the lock store")]
    Write(#[from] durable::WriteError),
}

impl EmbeddedStore {
    /// How its directory is opened.
    pub fn options() -> Options {
        Options::new("shared-lock-svc", rows::FORMAT)
    }

    /// Opens the store in `dir`, which is made if it is not there, and goes on where it stopped.
    /// Must be called on a tokio runtime.
    ///
    /// # Errors
    /// The directory is somebody else's, in use, or cannot be read.
    pub async fn open(dir: &Path, options: Options) -> Result<Self, EmbeddedError> {
        let disk = Durable::open(dir, options)?;
        let epoch = rows::epoch(&disk).await?;
        let saved = rows::load(&disk)?;
        let clock = Clock::start();
        let table = Table::default().restored(saved, clock.now());
        let journal = DiskJournal::start(disk.clone());
        let written = journal.progress();
        Ok(Self {
            written,
            machine: Machine::start(table, clock, epoch, Some(Arc::new(journal))),
            disk,
        })
    }

    /// Resolves when changes do not reach the disk any more: the process must then end, and the
    /// next one looks at every row before it trusts it.
    pub async fn failed(&self) {
        let mut written = self.written.clone();
        tokio::select! {
            () = self.disk.poisoned() => (),
            _ = written.wait_for(|_| false) => (),
        }
    }

    /// Whether it has come to that.
    pub fn has_failed(&self) -> bool {
        self.disk.is_poisoned() || self.written.has_changed().is_err()
    }
}

impl OnMachine for EmbeddedStore {
    fn machine(&self) -> &Machine {
        &self.machine
    }
}
