//! A lock that expired is given to the head of its queue, and entries that nobody serves are
//! removed.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::sleep;
use tracing::debug;
use uuid::Uuid;

use super::{
    Core,
    fault::Fault,
    keys::{LockPath, Segment},
    sight::{Question, Waiting},
    table,
};

/// How long the replica of the head goes first, before any other tries.
const OWNER_FIRST: Duration = Duration::from_millis(100);

/// Locks being promoted, so that each is tended by one task only.
#[derive(Default)]
pub(super) struct Promotions {
    running: Mutex<HashSet<Segment>>,
}

impl Promotions {
    fn running(&self) -> MutexGuard<'_, HashSet<Segment>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Promotes the head of a queue whose lock looks free: at once if it waits here, else when its
    /// own replica has had its chance.
    pub(super) fn consider_promoting(self: &Arc<Self>, head: Waiting) {
        let path = head.waiter.path();
        if !self.promotions.running().insert(path.segment.clone()) {
            return;
        }
        let core = Arc::clone(self);
        let is_ours = head.waiter.replica == self.replica.id;
        self.tasks.spawn(async move {
            if !is_ours {
                sleep(OWNER_FIRST + jitter(OWNER_FIRST)).await;
            }
            let promoted = core.promote(&path).await;
            core.promotions.running().remove(&path.segment);
            // Should it be needed still, the view says so again before long.
            if let Err(fault) = promoted {
                debug!(error = %fault, "nobody could be promoted: {fault}");
            }
        });
    }

    /// Removes an entry of this replica that no request here stands behind.
    pub(super) fn sweep(self: &Arc<Self>, stray: Waiting) {
        let core = Arc::clone(self);
        self.tasks.spawn(async move {
            // Should it fail, the view shows the entry again.
            let _ = core
                .etcd
                .propose(table::sweep(&stray.waiter.path(), &stray))
                .await;
        });
    }

    async fn promote(&self, path: &LockPath) -> Result<(), Fault> {
        let glimpse = self.view.glimpse(path);
        let (mut holder, mut next) = (glimpse.holder, glimpse.head);
        while holder.is_none()
            && let Some(head) = next
        {
            let question = Question::about(path).head().guard(head.waiter.lease);
            let answer = self
                .etcd
                .propose(table::promote(path, &head, question))
                .await?;
            if answer.succeeded {
                return Ok(());
            }
            let seen = question.read(&answer, 0)?;
            self.evict_if_dead(path, &head, &seen).await?;
            (holder, next) = (seen.holder, seen.head);
        }
        Ok(())
    }
}

/// A random part of `most`, so that replicas do not all try at once.
fn jitter(most: Duration) -> Duration {
    let part = Uuid::new_v4().as_bytes()[0];
    most * u32::from(part) / u32::from(u8::MAX)
}
