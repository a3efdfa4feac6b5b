//! Leases for what etcd shall remember only a while: that a request has ended, that a lock was
//! released. Many keys share one lease, since etcd suffers from many leases; and a lease takes no
//! more than so many keys, since they all go in one revision.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::{Core, fault::Fault};
use crate::lease::LeaseId;

/// A lease takes keys for this part of its life beyond the shortest life of a tombstone.
const TAKES_KEYS: Duration = Duration::from_secs(30);

/// Keys on one lease: two for each release.
const MOST_USES: usize = 2_500;

#[derive(Default)]
pub(super) struct Tombstones {
    current: Mutex<Option<Shared>>,
}

struct Shared {
    lease: LeaseId,
    /// When it was asked for: its life began no earlier.
    born: Instant,
    uses: usize,
}

impl Core {
    /// A lease on which a key lives at least as long as a tombstone must.
    pub(super) async fn tombstone_lease(self: &Arc<Self>) -> Result<LeaseId, Fault> {
        let mut current = self.tombstones.current.lock().await;
        if let Some(shared) = current.as_mut()
            && shared.born.elapsed() < TAKES_KEYS
            && shared.uses < MOST_USES
        {
            shared.uses += 1;
            return Ok(shared.lease);
        }
        let born = Instant::now();
        match self
            .grant_lease(self.options.tombstone_ttl + TAKES_KEYS)
            .await
        {
            Ok(granted) => {
                *current = Some(Shared {
                    lease: granted.id,
                    born,
                    uses: 1,
                });
                Ok(granted.id)
            }
            // An etcd without space grants nothing, and keeps alive what there is.
            Err(fault) => match current.as_mut() {
                Some(shared) => {
                    let limit = self.options.operation_timeout;
                    let kept = self.keep_lease_once(shared.lease, limit).await?;
                    shared.born = kept.ok_or(fault)?.sent;
                    Ok(shared.lease)
                }
                None => Err(fault),
            },
        }
    }

    /// Gives up a lease that etcd does not know any more, as after a long stop of this process.
    pub(super) async fn forget_tombstone_lease(&self, lease: LeaseId) {
        let mut current = self.tombstones.current.lock().await;
        if current.as_ref().is_some_and(|shared| shared.lease == lease) {
            *current = None;
        }
    }
}
