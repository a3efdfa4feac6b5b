//! Tombstones that an etcd without space did not take: they are put as soon as there is space again,
//! before any replica takes a new request. Until then the requests are ended by this replica's word.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{
    Core, acquire::Name, client::Answer, fault::Fault, keys::LockPath, sight::Hold, table,
};
use crate::lease::RequestId;

const RETRY: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Owed {
    tombstones: Mutex<Vec<Tombstone>>,
    added: Notify,
}

#[derive(Clone)]
struct Tombstone {
    path: LockPath,
    request: RequestId,
    since: Instant,
}

impl Owed {
    fn tombstones(&self) -> MutexGuard<'_, Vec<Tombstone>> {
        self.tombstones
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Notes that a request has ended which etcd has no tombstone of.
    fn owe_tombstone(&self, path: &LockPath, request: &RequestId) {
        self.owed.tombstones().push(Tombstone {
            path: path.clone(),
            request: request.clone(),
            since: Instant::now(),
        });
        self.owed.added.notify_one();
    }

    /// Ends tenures where nothing can be put.
    pub(super) async fn free(&self, path: &LockPath, holds: &[Hold]) -> Result<Answer, Fault> {
        // Before it is proposed: its answer may get lost.
        let requests = holds.iter().filter_map(Hold::request);
        requests.for_each(|request| self.owe_tombstone(path, request));
        self.etcd.propose(table::free(path, holds)).await
    }

    /// Whether a request has ended, though etcd has no tombstone of it.
    pub(super) fn has_ended_unwritten(&self, (key, request): &Name) -> bool {
        let owed = self.owed.tombstones();
        owed.iter()
            .any(|one| one.request == *request && one.path.key == *key)
    }

    /// Puts what is owed when there is space; for ever.
    pub(super) async fn pay_tombstones(self: &Arc<Self>) {
        loop {
            self.owed.added.notified().await;
            while let Some(tombstone) = self.first_owed() {
                self.etcd.space_comes().await;
                let (path, request) = (&tombstone.path, &tombstone.request);
                let row = |tombstones| table::entomb(path, request, tombstones);
                match self.propose_with_tombstones(row).await {
                    Ok(_) => drop(self.owed.tombstones().remove(0)),
                    Err(_) => sleep(RETRY).await,
                }
            }
        }
    }

    /// The oldest that is owed still: one that etcd would have forgotten by now is not.
    fn first_owed(&self) -> Option<Tombstone> {
        let mut owed = self.owed.tombstones();
        owed.retain(|one| one.since.elapsed() < self.options.tombstone_ttl);
        owed.first().cloned()
    }
}
