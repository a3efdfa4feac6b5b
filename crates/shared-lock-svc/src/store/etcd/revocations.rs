//! Leases that are over are revoked in the background, a few at a time: each is an entry in etcd's
//! log, and one that expires instead keeps etcd busy for longer.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::Core;
use crate::lease::LeaseId;

/// Revocations under way at a time.
const MOST: usize = 16;

pub(super) struct Revocations {
    queue: mpsc::UnboundedSender<LeaseId>,
    pending: watch::Sender<usize>,
}

/// Leases to be revoked, in order.
pub(super) type Doomed = mpsc::UnboundedReceiver<LeaseId>;

impl Revocations {
    /// Also what is to be worked off.
    pub(super) fn new() -> (Self, Doomed) {
        let (queue, doomed) = mpsc::unbounded_channel();
        let pending = watch::Sender::new(0);
        (Self { queue, pending }, doomed)
    }

    /// Resolves when none is pending.
    pub(super) async fn done(&self) {
        // The sender lives as long as we do.
        let _ = self
            .pending
            .subscribe()
            .wait_for(|pending| *pending == 0)
            .await;
    }
}

impl Core {
    /// Ends a lease in the background, however long etcd takes to answer.
    pub(super) fn revoke_lease_later(&self, lease: LeaseId) {
        self.revocations
            .pending
            .send_modify(|pending| *pending += 1);
        // A store that is dropped revokes nothing.
        let _ = self.revocations.queue.send(lease);
    }

    /// Revokes what it is given; for ever.
    pub(super) async fn revoke_leases(self: &Arc<Self>, mut doomed: Doomed) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                Some(lease) = doomed.recv(), if running.len() < MOST => {
                    let core = Arc::clone(self);
                    running.spawn(async move { core.revoke_lease_surely(lease).await });
                }
                Some(_) = running.join_next() => {
                    self.revocations.pending.send_modify(|pending| *pending -= 1);
                }
                else => return,
            }
        }
    }
}
