//! What is asked of the machine and answered at once.

use tokio::time::Instant;

use super::{Machine, Origin, StoreError, granted_ttl, views};
use crate::{
    lease::{
        Claim, LeaseId, LockKey, LockPage, LockView, PageRequest, Session, SessionRequest, Until,
        Verified,
    },
    state::{Answer, Command, Moment, Table},
    store::{ForceRelease, Release, Renewal},
};

impl Machine {
    pub(super) fn keep_lease_alive(&self, lease: LeaseId) -> Option<Renewal> {
        let asked = Instant::now();
        let kept = self.shared.ask(Origin::default(), |table, now| {
            table.keep_lease_alive(lease, now)
        });
        renewal(&kept.0, asked)
    }

    pub(super) fn keep_alive(&self, key: &LockKey, lease: LeaseId) -> Option<Renewal> {
        let asked = Instant::now();
        let kept = self.shared.ask(Origin::default(), |table, now| {
            table.keep_alive(key, lease, now)
        });
        renewal(&kept.0, asked)
    }

    pub(super) async fn release(
        &self,
        key: &LockKey,
        release: Release,
    ) -> Result<bool, StoreError> {
        let Release {
            claim,
            note,
            trace_id,
        } = release;
        let release = Command::Release { claim, note };
        let origin = Origin::call(trace_id);
        let told = self
            .shared
            .ask(origin, |table, now| table.step(key, release, now));
        Ok(self.told(told).await? == Answer::Released)
    }

    pub(super) async fn force_release(
        &self,
        key: &LockKey,
        order: ForceRelease,
    ) -> Result<LockView, StoreError> {
        let told = {
            let mut inner = self.shared.lock();
            let now = self.shared.pass_time(&mut inner);
            let mut view = views::view(&inner.table, key, now);
            view.waiters.clear();
            let origin = Origin {
                trace_id: order.trace_id,
                reason: order.reason,
            };
            self.shared.apply(&mut inner, origin, |table, now| {
                table.step(key, Command::Force, now)
            });
            (view, self.shared.position())
        };
        self.told(told).await
    }

    pub(super) async fn verify(
        &self,
        key: &LockKey,
        claim: &Claim,
    ) -> Result<Option<Verified>, StoreError> {
        self.look(|table, now| {
            let grant = table.lock(key).and_then(|lock| lock.claimed(claim))?;
            Some(Verified {
                fencing_token: grant.token,
                remaining: Some(table.end_of(grant).since(now)),
            })
        })
        .await
    }

    pub(super) async fn inspect(&self, key: &LockKey) -> Result<LockView, StoreError> {
        self.look(|table, now| views::view(table, key, now)).await
    }

    pub(super) async fn list(&self, page: &PageRequest) -> Result<LockPage, StoreError> {
        self.look(|table, now| views::page(table, page, now)).await
    }

    pub(super) async fn open_session(
        &self,
        request: SessionRequest,
    ) -> Result<Session, StoreError> {
        let ttl = granted_ttl(request.ttl)?;
        let told = {
            let mut inner = self.shared.lock();
            inner.is_open()?;
            let id = inner.fresh_lease();
            self.shared
                .apply(&mut inner, Origin::default(), |table, now| {
                    table.open_session(id, request.holder, ttl, now)
                });
            (id, self.shared.position())
        };
        let id = self.told(told).await?;
        // Its life begins when it is told.
        let until = self.keep_lease_alive(id).map(|kept| kept.until);
        Ok(Session {
            id,
            ttl,
            until: until.unwrap_or(Until(Instant::now())),
        })
    }

    pub(super) async fn end_session(&self, id: LeaseId) -> Result<bool, StoreError> {
        let end = |table: &mut Table, now| table.end_session(id, now);
        let told = self.shared.ask(Origin::default(), end);
        Ok(self.told(told).await? == Answer::Released)
    }

    /// Looks at the locks as they are now, and tells it once that is safe.
    async fn look<T>(&self, look: impl FnOnce(&Table, Moment) -> T) -> Result<T, StoreError> {
        let told = {
            let mut inner = self.shared.lock();
            let now = self.shared.pass_time(&mut inner);
            (look(&inner.table, now), self.shared.position())
        };
        self.told(told).await
    }
}

/// What a keepalive is worth that was begun at `asked`, or later.
fn renewal(answer: &Answer, asked: Instant) -> Option<Renewal> {
    match answer {
        Answer::Renewed(ttl) => Some(Renewal {
            ttl: *ttl,
            until: Until(asked + *ttl),
        }),
        _ => None,
    }
}
