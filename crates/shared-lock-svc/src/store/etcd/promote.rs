//! Whoever is first in a queue and fits is given the lock, and entries that nobody serves are
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
    room::Scene,
    sight::{Question, Waiting, leases_of},
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
    /// Promotes the first of a queue if they fit beside whoever holds the lock: at once if the head
    /// waits here, else when its own replica has had its chance.
    pub(super) fn consider_promoting(self: &Arc<Self>, head: Waiting) {
        let path = head.waiter.meta.path();
        if !self.promotions.running().insert(path.segment.clone()) {
            return;
        }
        let core = Arc::clone(self);
        let is_ours = head.waiter.meta.replica == self.replica.id;
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
            let path = stray.waiter.meta.path();
            let _ = core.etcd.propose(table::sweep(&path, &stray)).await;
        });
    }

    async fn promote(&self, path: &LockPath) -> Result<(), Fault> {
        let mut scene = self.view.scene(path).unwrap_or_default();
        if scene.dead_heads().next().is_some() {
            // The view may be behind, and to evict who lives is refused.
            scene = self.scene_now(path).await?;
        }
        loop {
            self.evict_dead_heads(path, &mut scene).await?;
            let Some(run) = scene.next_run(None) else {
                return Ok(());
            };
            let tried = leases_of(&run.waiters);
            let question = Question::about(path).queue().guards(tried.iter().copied());
            let proposal = table::promote(path, &run, &question);
            let answer = self.etcd.propose(proposal).await?;
            if answer.succeeded {
                return Ok(());
            }
            let seen = question.read(&answer)?;
            scene = self.with_guards(seen.scene, &tried).await?;
        }
    }

    /// Removes those from the head of a queue that can never be served.
    pub(super) async fn evict_dead_heads(
        &self,
        path: &LockPath,
        scene: &mut Scene,
    ) -> Result<(), Fault> {
        let dead: Vec<_> = scene.dead_heads().cloned().collect();
        for waiting in &dead {
            let mut leases = waiting.waiter.meta.leases.all();
            if let Some(lost) = leases.find(|lease| !scene.guarded.contains(lease)) {
                self.etcd.propose(table::evict(path, waiting, lost)).await?;
            }
        }
        scene.queue.drain(..dead.len());
        Ok(())
    }
}

/// A random part of `most`, so that replicas do not all try at once.
fn jitter(most: Duration) -> Duration {
    let part = Uuid::new_v4().as_bytes()[0];
    most * u32::from(part) / u32::from(u8::MAX)
}
