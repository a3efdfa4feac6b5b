//! Locks on a disk of this process's own: for one replica, which may be killed at any time.
//!
//! What is durable: who holds which lock, the largest token ever granted, and the requests that
//! have ended. Keepalives are not, and waiters are not: a restart gives every lease its full life
//! again and finds the queues empty. Nobody hears of a change before it has been synced.

mod journal;
mod rows;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use durable::{Durable, OpenError, Options, ReadError};
use tokio::sync::{broadcast, watch};

use self::journal::DiskJournal;
use super::{
    ForceRelease, LockFeed, LockIndex, LockStore, Release, Renewal, SessionStore, StoreError,
    machine::{Clock, Machine},
};
use crate::{
    lease::{
        AcquireAllRequest, AcquireRequest, Acquisition, AllAcquisition, Claim, LeaseId, LockEvent,
        LockKey, LockPage, LockView, PageRequest, Session, SessionRequest, Verified,
    },
    state::Table,
};

/// A store in a directory.
pub struct EmbeddedStore {
    machine: Machine,
    disk: Durable,
    /// How far the disk is.
    written: watch::Receiver<u64>,
    epoch: String,
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
            machine: Machine::start(table, clock, Some(Box::new(journal))),
            disk,
            epoch,
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

#[async_trait]
impl LockStore for EmbeddedStore {
    async fn acquire(&self, request: AcquireRequest) -> Result<Acquisition, StoreError> {
        self.machine.acquire(request).await
    }

    async fn keep_lease_alive(&self, lease: LeaseId) -> Result<Option<Renewal>, StoreError> {
        Ok(self.machine.keep_lease_alive(lease))
    }

    async fn keep_alive(
        &self,
        key: &LockKey,
        lease: LeaseId,
    ) -> Result<Option<Renewal>, StoreError> {
        Ok(self.machine.keep_alive(key, lease))
    }

    async fn release(&self, key: &LockKey, release: Release) -> Result<bool, StoreError> {
        self.machine.release(key, release.claim).await
    }

    async fn acquire_all(&self, _: AcquireAllRequest) -> Result<AllAcquisition, StoreError> {
        Err(StoreError::Unsupported("several locks at once"))
    }

    async fn verify(&self, _: &LockKey, _: &Claim) -> Result<Option<Verified>, StoreError> {
        Err(StoreError::Unsupported("verification"))
    }

    async fn force_release(&self, _: &LockKey, _: ForceRelease) -> Result<LockView, StoreError> {
        Err(StoreError::Unsupported("release by force"))
    }

    async fn inspect(&self, key: &LockKey) -> Result<LockView, StoreError> {
        self.machine.inspect(key).await
    }

    async fn token_epoch(&self) -> Result<String, StoreError> {
        Ok(self.epoch.clone())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.machine.ready().await
    }

    async fn close(&self) {
        self.machine.close();
        if let Err(err) = self.machine.ready().await {
            tracing::warn!("the last changes may not have reached the disk: {err}");
        }
    }
}

#[async_trait]
impl SessionStore for EmbeddedStore {
    async fn open_session(&self, _: SessionRequest) -> Result<Session, StoreError> {
        Err(StoreError::Unsupported("sessions"))
    }

    async fn end_session(&self, _: LeaseId) -> Result<bool, StoreError> {
        Err(StoreError::Unsupported("sessions"))
    }
}

#[async_trait]
impl LockIndex for EmbeddedStore {
    async fn list(&self, _: &PageRequest) -> Result<LockPage, StoreError> {
        Err(StoreError::Unsupported("listing"))
    }
}

impl LockFeed for EmbeddedStore {
    fn events(&self) -> broadcast::Receiver<Arc<LockEvent>> {
        self.machine.events()
    }
}
