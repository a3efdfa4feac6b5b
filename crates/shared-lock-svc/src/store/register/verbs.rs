//! The verbs of a store, on one document a lock.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::{sync::broadcast, time::timeout};

use super::{
    RegisterStore,
    acquire::{self, end_of},
    slot::Done,
};
use crate::{
    lease::{
        AcquireAllRequest, AcquireRequest, Acquisition, AllAcquisition, Claim, LeaseId, LockEvent,
        LockKey, LockPage, LockView, PageRequest, Session, SessionRequest, Until, Verified,
    },
    state::{Answer, Command, Event, Lock},
    store::{
        Abilities, ForceRelease, LockFeed, LockIndex, LockStore, Release, Renewal, SessionStore,
        StoreError,
        machine::{feed::Origin, views},
    },
};

impl RegisterStore {
    async fn ask(
        &self,
        key: &LockKey,
        command: Command,
        origin: Origin,
    ) -> Result<Done, StoreError> {
        let slot = self.core.slot(key);
        Ok(slot.ask_for(&self.core, command, origin, false).await?)
    }
}

#[async_trait]
impl LockStore for RegisterStore {
    async fn acquire(&self, request: AcquireRequest) -> Result<Acquisition, StoreError> {
        acquire::acquire(&self.core, request).await
    }

    async fn acquire_all(&self, _request: AcquireAllRequest) -> Result<AllAcquisition, StoreError> {
        Err(StoreError::Unsupported("several locks at once"))
    }

    async fn keep_lease_alive(&self, _lease: LeaseId) -> Result<Option<Renewal>, StoreError> {
        Err(StoreError::Unsupported("a lease without its lock"))
    }

    async fn keep_alive(
        &self,
        key: &LockKey,
        lease: LeaseId,
    ) -> Result<Option<Renewal>, StoreError> {
        let done = self
            .ask(key, Command::KeepAlive(lease), Origin::default())
            .await?;
        Ok(match done.outcome.answer {
            Answer::Renewed(ttl) => Some(Renewal {
                ttl,
                until: Until(done.sent + ttl),
            }),
            _ => None,
        })
    }

    async fn release(&self, key: &LockKey, release: Release) -> Result<bool, StoreError> {
        let Release {
            claim,
            note,
            trace_id,
        } = release;
        let origin = Origin::call(trace_id);
        let done = self
            .ask(key, Command::Release { claim, note }, origin)
            .await?;
        Ok(done.outcome.answer == Answer::Released)
    }

    async fn verify(&self, key: &LockKey, claim: &Claim) -> Result<Option<Verified>, StoreError> {
        let slot = self.core.slot(key);
        let looked = slot.ask_for(&self.core, Command::Tick, Origin::default(), true);
        let done = looked.await?;
        Ok(done.lock.claimed(claim).map(|grant| Verified {
            fencing_token: grant.token,
            remaining: Some(end_of(grant).since(done.at)),
        }))
    }

    async fn force_release(
        &self,
        key: &LockKey,
        order: ForceRelease,
    ) -> Result<LockView, StoreError> {
        let origin = Origin {
            trace_id: order.trace_id,
            reason: order.reason,
        };
        let done = self.ask(key, Command::Force, origin).await?;
        let ended = done.outcome.events.iter().filter_map(|event| match event {
            Event::Ended(grant, crate::state::Cause::Forced) => Some(grant.clone()),
            _ => None,
        });
        let before = Lock {
            grants: ended.collect(),
            ..Lock::default()
        };
        Ok(views::as_it_stands(&before, end_of, done.at))
    }

    async fn inspect(&self, key: &LockKey) -> Result<LockView, StoreError> {
        let done = self.ask(key, Command::Tick, Origin::default()).await?;
        Ok(views::as_it_stands(&done.lock, end_of, done.at))
    }

    async fn token_epoch(&self) -> Result<String, StoreError> {
        self.core.epoch().await
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            bare_leases: false,
            whole_feed: false,
        }
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.core.ready().await
    }

    async fn close(&self) {
        self.core.closed.cancel();
        let settled = async {
            while self.core.is_busy() {
                tokio::time::sleep(self.core.options.poll / 20).await;
            }
        };
        if timeout(self.core.options.timeout, settled).await.is_err() {
            tracing::warn!("some requests end only when their leases run out");
        }
    }
}

#[async_trait]
impl SessionStore for RegisterStore {
    async fn open_session(&self, _request: SessionRequest) -> Result<Session, StoreError> {
        Err(StoreError::Unsupported("sessions"))
    }

    async fn end_session(&self, _id: LeaseId) -> Result<bool, StoreError> {
        Err(StoreError::Unsupported("sessions"))
    }
}

#[async_trait]
impl LockIndex for RegisterStore {
    async fn list(&self, _page: &PageRequest) -> Result<LockPage, StoreError> {
        Err(StoreError::Unsupported("a list of its locks"))
    }
}

impl LockFeed for RegisterStore {
    fn events(&self) -> broadcast::Receiver<Arc<LockEvent>> {
        self.core.events.subscribe()
    }
}
