//! What a tenure hangs on: leases of its own, or a session's.

use std::{sync::Arc, time::Duration};

use etcd_client::GetOptions;

use super::{
    Core,
    fault::Fault,
    keys,
    leases::{Kept, Lease},
    records::{self, Leases, SessionRecord},
};
use crate::lease::{AcquireRequest, Anchor, LeaseId, Mode};

/// The leases of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchored {
    pub(super) leases: Leases,
    /// The life of the one that the tenure hangs on.
    pub(super) ttl: Duration,
}

impl Core {
    /// Leases for a request; `None` if its session is gone.
    pub(super) async fn anchor(
        self: &Arc<Self>,
        request: &AcquireRequest,
    ) -> Result<Option<Anchored>, Fault> {
        let (lease, ttl, session) = match request.anchor {
            Anchor::Own(ttl) => {
                let granted = self.tenure_lease(ttl).await?;
                (granted.id, granted.ttl, false)
            }
            Anchor::Session(lease) => match self.session(lease).await? {
                Some(session) => (lease, Duration::from_millis(session.ttl_ms), true),
                None => return Ok(None),
            },
        };
        let mut anchored = Anchored {
            leases: Leases {
                lease,
                session,
                delay_lease: None,
            },
            ttl,
        };
        if request.mode == Mode::Exclusive && !request.lock_delay.is_zero() {
            match self.grant_lease(ttl + request.lock_delay).await {
                Ok(granted) => anchored.leases.delay_lease = Some(granted.id),
                Err(fault) => {
                    self.let_go(anchored);
                    return Err(fault);
                }
            }
        }
        Ok(Some(anchored))
    }

    /// Ends leases that nothing hangs on any more, but for a session.
    pub(super) fn let_go(self: &Arc<Self>, anchored: Anchored) {
        for lease in anchored.leases.own() {
            self.revoke_lease_later(lease);
        }
    }

    /// Keeps all leases of a request alive for as long as the answer is held.
    pub(super) fn keep(self: &Arc<Self>, anchored: Anchored) -> Vec<Kept> {
        let ttl = anchored.ttl;
        let leases = anchored.leases.all();
        leases
            .map(|id| self.keep_lease(Lease { id, ttl }))
            .collect()
    }

    /// A session that lives.
    pub(super) async fn session(&self, lease: LeaseId) -> Result<Option<SessionRecord>, Fault> {
        if let Some(session) = self.view.session(lease) {
            return Ok(Some(session));
        }
        let guard = keys::guard(lease);
        let get = self.etcd.get(guard.as_bytes(), GetOptions::new()).await?;
        // The guard of a waiter's own lease is empty: that one is no session.
        let session = get.kvs().first().filter(|kv| !kv.value().is_empty());
        session.map(|kv| records::decode(kv.value())).transpose()
    }
}
