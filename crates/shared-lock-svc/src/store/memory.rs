//! Locks in memory: for one replica, and gone with it. The tentens-tech/shared-lock wire calls it
//! `mock`; the life of a lease is as real here as anywhere.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;
use uuid::Uuid;

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

/// A store in memory.
pub struct MemoryStore {
    machine: Machine,
    /// Another one in each process: the tokens start again.
    epoch: String,
}

impl MemoryStore {
    /// An empty store. Must be called on a tokio runtime, whose clock it follows.
    #[expect(
        clippy::new_without_default,
        reason = "it starts a task, which `default` does not tell"
    )]
    pub fn new() -> Self {
        Self {
            machine: Machine::start(Table::default(), Clock::start(), None),
            epoch: Uuid::new_v4().to_string(),
        }
    }
}

#[async_trait]
impl LockStore for MemoryStore {
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
        Ok(())
    }

    async fn close(&self) {
        self.machine.close();
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn open_session(&self, _: SessionRequest) -> Result<Session, StoreError> {
        Err(StoreError::Unsupported("sessions"))
    }

    async fn end_session(&self, _: LeaseId) -> Result<bool, StoreError> {
        Err(StoreError::Unsupported("sessions"))
    }
}

#[async_trait]
impl LockIndex for MemoryStore {
    async fn list(&self, _: &PageRequest) -> Result<LockPage, StoreError> {
        Err(StoreError::Unsupported("listing"))
    }
}

impl LockFeed for MemoryStore {
    fn events(&self) -> broadcast::Receiver<Arc<LockEvent>> {
        self.machine.events()
    }
}
