//! Leases: the one place that grants them, keeps them alive and revokes them.

use std::{sync::Arc, time::Duration};

use etcd_client::LeaseGrantOptions;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{Core, client::Call, fault::Fault, keepalive::Confirmed};
use crate::{lease::LeaseId, store::Renewal};

/// How long to wait before a revocation that got no answer is sent again.
const RETRY: Duration = Duration::from_millis(500);

/// How late a request may still take effect that everybody has given up.
const LATE: Duration = Duration::from_secs(5);

/// What a look at a lease is worth waiting for when an answer is ready without it.
const GLANCE: Duration = Duration::from_millis(500);

/// A lease as etcd granted it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub(super) id: LeaseId,
    pub(super) ttl: Duration,
}

/// Keeps a lease alive until dropped.
pub(super) struct Kept {
    lost: CancellationToken,
    _keeper: DropGuard,
}

impl Kept {
    /// Resolves when etcd says that the lease is gone.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Core {
    /// Grants a lease of at least this life.
    ///
    /// The id is ours to choose, so that a grant whose answer is lost can be revoked.
    pub(super) async fn grant_lease(self: &Arc<Self>, ttl: Duration) -> Result<Lease, Fault> {
        let id = LeaseId(random_id());
        let options = LeaseGrantOptions::new().with_id(id.0);
        let seconds = whole_seconds(ttl);
        let granted = self.etcd.call(Call::once("lease_grant"), |mut client| {
            let options = options.clone();
            async move { client.lease_grant(seconds, Some(options)).await }
        });
        match granted.await {
            Ok(granted) => Ok(Lease {
                id,
                ttl: Duration::from_secs(granted.ttl().unsigned_abs()),
            }),
            Err(fault) => {
                self.etcd.heed(&fault);
                if fault.is_unknown() {
                    self.revoke_when_it_comes(id);
                }
                Err(fault)
            }
        }
    }

    /// Keeps a lease alive for as long as the answer is held.
    pub(super) fn keep_lease(self: &Arc<Self>, lease: Lease) -> Kept {
        let lost = CancellationToken::new();
        let dropped = CancellationToken::new();
        let kept = Kept {
            lost: lost.clone(),
            _keeper: dropped.clone().drop_guard(),
        };
        let core = Arc::clone(self);
        self.tasks.spawn(async move {
            dropped
                .run_until_cancelled(core.keep_until_gone(lease))
                .await
                .inspect(|()| lost.cancel());
        });
        kept
    }

    async fn keep_until_gone(&self, lease: Lease) {
        let mut pause = lease.ttl / 3;
        loop {
            sleep(pause).await;
            pause = match self
                .keep_lease_once(lease.id, self.options.operation_timeout)
                .await
            {
                Ok(Some(_)) => lease.ttl / 3,
                Ok(None) => return,
                Err(_) => RETRY.min(lease.ttl / 6),
            };
        }
    }

    /// Ends a lease and all keys on it.
    pub(super) async fn revoke_lease(&self, id: LeaseId) -> Result<(), Fault> {
        let revoked = self
            .etcd
            .call(Call::freely("lease_revoke"), |mut client| async move {
                client.lease_revoke(id.0).await
            });
        match revoked.await {
            Ok(_) | Err(Fault::LeaseNotFound) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Ends a lease whose grant may have been heard, or may be heard yet: etcd may do the revocation
    /// before the grant that it overtook.
    fn revoke_when_it_comes(self: &Arc<Self>, id: LeaseId) {
        let core = Arc::clone(self);
        self.tasks.spawn(async move {
            core.revoke_lease_surely(id).await;
            sleep(LATE).await;
            core.revoke_lease_surely(id).await;
        });
    }

    /// Ends a lease, however long etcd takes to answer.
    pub(super) async fn revoke_lease_surely(&self, id: LeaseId) {
        while self.revoke_lease(id).await.is_err() {
            sleep(RETRY).await;
        }
    }

    /// What is left of somebody's lease and its whole life, if etcd says so soon.
    pub(super) async fn lease_glance(&self, id: LeaseId) -> Option<(Duration, Duration)> {
        let (remaining, ttl) = self.lease_life(id, GLANCE).await.ok()??;
        // A leader that has just been deposed answers nonsense.
        (remaining <= ttl + Duration::from_secs(60)).then_some((remaining, ttl))
    }

    /// Restarts the life of anybody's lease; `None` if it is gone.
    pub(super) async fn renew(&self, id: LeaseId) -> Result<Option<Renewal>, Fault> {
        let confirmed = self.keep_lease_once(id, self.options.operation_timeout);
        Ok(confirmed.await?.map(Confirmed::renewal))
    }

    /// What is left of a lease, and its whole life; `None` if it is gone.
    async fn lease_life(
        &self,
        id: LeaseId,
        limit: Duration,
    ) -> Result<Option<(Duration, Duration)>, Fault> {
        let life = self.etcd.call_within(
            limit,
            Call::freely("lease_time_to_live"),
            |mut client| async move { client.lease_time_to_live(id.0, None).await },
        );
        let life = match life.await {
            Err(Fault::LeaseNotFound) => return Ok(None),
            life => life?,
        };
        let seconds = |seconds: i64| u64::try_from(seconds).ok().map(Duration::from_secs);
        Ok(seconds(life.ttl()).zip(seconds(life.granted_ttl())))
    }
}

/// etcd counts whole seconds, and raises what is below its minimum.
pub(super) fn whole_seconds(ttl: Duration) -> i64 {
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX).max(1)
}

fn random_id() -> i64 {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    // Zero means "no lease", negative ids are not etcd's custom.
    ((random >> 1).max(1)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (60_000, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
