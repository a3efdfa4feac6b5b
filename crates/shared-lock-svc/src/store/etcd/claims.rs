//! Tenures as their holders name them: kept alive, verified.

use etcd_client::{GetOptions, Txn, TxnOp, TxnOpResponse};
use tokio::task::JoinSet;

use super::{
    Core,
    acquire::fencing_token,
    fault::Fault,
    keepalive::Confirmed,
    keys::LockPath,
    release::Named,
    sight::{Hold, Question},
};
use crate::{
    lease::{Claim, FencingToken, LeaseId, Verified},
    store::Renewal,
};

use std::sync::Arc;

impl Core {
    /// Restarts the life of a lease that holds the lock; `None` if it does not.
    pub(super) async fn keep_tenure(
        self: &Arc<Self>,
        path: &LockPath,
        lease: LeaseId,
    ) -> Result<Option<Renewal>, Fault> {
        // A leader that was stopped may confirm a lease that is gone: its key must be there.
        let limit = self.options.operation_timeout;
        let (kept, holds) = tokio::join!(
            self.keep_lease_once(lease, limit),
            self.is_held_with(path, lease)
        );
        self.keep_delays_of(lease);
        let (kept, holds) = (kept?, holds?);
        Ok(kept.filter(|_| holds).map(Confirmed::renewal))
    }

    /// Restarts the life of a lease, whatever hangs on it; `None` if it is gone.
    pub(super) async fn keep_any(
        self: &Arc<Self>,
        lease: LeaseId,
    ) -> Result<Option<Renewal>, Fault> {
        self.keep_delays_of(lease);
        self.renew(lease).await
    }

    /// Whether a tenure is current: a linearizable read.
    pub(super) async fn verify(
        &self,
        path: &LockPath,
        claim: &Claim,
    ) -> Result<Option<Verified>, Fault> {
        let hold = match claim {
            Claim::Request(request) => {
                let question = Question::about(path).request(request);
                self.look(&question).await?.own_hold
            }
            Claim::Tenure {
                lease_id,
                fencing_token,
            } => match named(*lease_id, *fencing_token) {
                Some(named) => self.find_tenure(path, named).await?,
                None => None,
            },
        };
        let Some(hold) = hold else { return Ok(None) };
        let life = self.lease_glance(hold.lease).await;
        Ok(Some(Verified {
            fencing_token: fencing_token(hold.token)?,
            remaining: life.map(|(remaining, _)| remaining),
        }))
    }

    async fn is_held_with(&self, path: &LockPath, lease: LeaseId) -> Result<bool, Fault> {
        // The view says which key to look at; without it all are looked through.
        for hold in self.view.holds(path, |hold| hold.lease == lease) {
            if self.stands(path, &hold).await? {
                return Ok(true);
            }
        }
        let holds = self.holds_now(path).await?;
        Ok(holds.iter().any(|hold| hold.lease == lease))
    }

    async fn stands(&self, path: &LockPath, hold: &Hold) -> Result<bool, Fault> {
        let bare = GetOptions::new().with_keys_only();
        let look = Txn::new().and_then([TxnOp::get(hold.key(path), Some(bare))]);
        let answer = self.etcd.look(look).await?;
        let Some(TxnOpResponse::Get(get)) = answer.responses.first() else {
            return Err(Fault::Lost("etcd answered what it was not asked".into()));
        };
        let key = get.kvs().first();
        Ok(key.is_some_and(|kv| kv.mod_revision() == hold.token && kv.lease() == hold.lease.0))
    }

    /// Restarts the lives of the leases that lock-delays of this one hang on. Should one of them
    /// run out all the same, a lock is free sooner after an expiry.
    fn keep_delays_of(self: &Arc<Self>, lease: LeaseId) {
        let delays = self.view.delays_of(lease);
        if delays.is_empty() {
            return;
        }
        let core = Arc::clone(self);
        self.tasks.spawn(async move {
            let mut renewals = JoinSet::new();
            for delay in delays {
                let core = Arc::clone(&core);
                renewals.spawn(async move { core.renew(delay).await.map(drop) });
            }
            renewals.join_all().await;
        });
    }
}

/// A tenure as its holder names it; `None` if etcd has no such revision, so that nobody ever got
/// that token.
pub(super) fn named(lease: LeaseId, token: FencingToken) -> Option<Named> {
    let token = i64::try_from(token.0.get()).ok()?;
    Some(Named { token, lease })
}
