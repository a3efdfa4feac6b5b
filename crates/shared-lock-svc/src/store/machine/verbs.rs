//! The verbs of a store, for all that stand on the machine.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::Machine;
use crate::{
    lease::{
        AcquireAllRequest, AcquireRequest, Acquisition, AllAcquisition, Claim, LeaseId, LockEvent,
        LockKey, LockPage, LockView, PageRequest, Session, SessionRequest, Verified,
    },
    store::{
        Abilities, ForceRelease, LockFeed, LockIndex, LockStore, Release, Renewal, SessionStore,
        StoreError,
    },
};

/// A store that is a machine and a place where its changes go.
pub(in crate::store) trait OnMachine: Send + Sync {
    /// The machine.
    fn machine(&self) -> &Machine;
}

#[async_trait]
impl<T: OnMachine> LockStore for T {
    async fn acquire(&self, request: AcquireRequest) -> Result<Acquisition, StoreError> {
        self.machine().acquire(request).await
    }

    async fn acquire_all(&self, request: AcquireAllRequest) -> Result<AllAcquisition, StoreError> {
        self.machine().acquire_all(request).await
    }

    async fn keep_lease_alive(&self, lease: LeaseId) -> Result<Option<Renewal>, StoreError> {
        Ok(self.machine().keep_lease_alive(lease))
    }

    async fn keep_alive(
        &self,
        key: &LockKey,
        lease: LeaseId,
    ) -> Result<Option<Renewal>, StoreError> {
        Ok(self.machine().keep_alive(key, lease))
    }

    async fn release(&self, key: &LockKey, release: Release) -> Result<bool, StoreError> {
        self.machine().release(key, release).await
    }

    async fn verify(&self, key: &LockKey, claim: &Claim) -> Result<Option<Verified>, StoreError> {
        self.machine().verify(key, claim).await
    }

    async fn force_release(
        &self,
        key: &LockKey,
        order: ForceRelease,
    ) -> Result<LockView, StoreError> {
        self.machine().force_release(key, order).await
    }

    async fn inspect(&self, key: &LockKey) -> Result<LockView, StoreError> {
        self.machine().inspect(key).await
    }

    async fn token_epoch(&self) -> Result<String, StoreError> {
        Ok(self.machine().epoch.clone())
    }

    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.machine().ready().await
    }

    async fn close(&self) {
        self.machine().close().await;
    }
}

#[async_trait]
impl<T: OnMachine> SessionStore for T {
    async fn open_session(&self, request: SessionRequest) -> Result<Session, StoreError> {
        self.machine().open_session(request).await
    }

    async fn end_session(&self, id: LeaseId) -> Result<bool, StoreError> {
        self.machine().end_session(id).await
    }
}

#[async_trait]
impl<T: OnMachine> LockIndex for T {
    async fn list(&self, page: &PageRequest) -> Result<LockPage, StoreError> {
        self.machine().list(page).await
    }
}

impl<T: OnMachine> LockFeed for T {
    fn events(&self) -> broadcast::Receiver<Arc<LockEvent>> {
        self.machine().shared.feed.subscribe()
    }
}
