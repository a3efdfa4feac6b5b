//! A request in the queue: put there, woken when its entry goes, and taken out when it leaves.

use std::time::Duration;

use tokio::time::{sleep, sleep_until};

use super::{
    acquire::{Handling, Verdict},
    fault::Fault,
    leases::Kept,
    records::Waiter,
    sight::{Sight, Waiting},
    table::{self, Alive},
};
use crate::lease::Acquisition;

/// How long to wait before a look that failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// How waiting ended.
pub(super) enum Waited {
    /// The request is decided.
    End(Verdict),
    /// The lock was handed to it; its token.
    Granted(i64),
    /// It is not in the queue, and this is what was seen.
    Look(Box<Sight>),
}

/// Why a request leaves the queue on its own account.
enum Leaving {
    WaitOver,
    Abandoned,
    LeaseLost,
    Closing,
}

impl Handling {
    /// Stands in the queue until the lock is handed over, or there is a reason to leave.
    pub(super) async fn wait_in_queue(&mut self, meta_revision: i64) -> Result<Waited, Fault> {
        let core = self.core.clone();
        let lease = self.lease().await?;
        let presence = self.presence().await?;
        let seat = core.seat(&presence).await?;
        let request = self.entry.request.clone();
        // From before the entry is made, so that its end cannot be missed.
        let listener = core.view.listen(&self.path, &request.request_id);
        let waiter = Waiter::of(&request, &core.replica.id, lease.id, lease.ttl);
        let alive = Alive {
            replica: &core.replica.id,
            since: presence.since,
        };
        let question = self.question();
        let txn = table::enqueue(
            &self.path,
            alive,
            seat.lease(),
            &request.request_id,
            &waiter,
            meta_revision,
            question,
        );
        let proposed = core.etcd.propose(txn).await;
        if matches!(proposed, Err(Fault::LeaseNotFound)) && self.bury_lease() {
            return Ok(Waited::Look(Box::new(self.look().await?)));
        }
        let (answer, question) = (proposed?, self.question());
        if !answer.succeeded {
            let seen = question.read(&answer, 0)?;
            self.note_presence(&seen, &presence);
            return Ok(Waited::Look(Box::new(seen)));
        }
        let own = Waiting {
            request: request.request_id,
            place: answer.revision,
            revision: answer.revision,
            waiter,
        };
        let kept = core.keep_lease(lease);
        loop {
            tokio::select! {
                biased;
                leaving = self.reason_to_leave(&kept) => return self.leave(own, leaving).await,
                () = listener.woken() => {}
            }
            match self.look().await {
                Ok(seen)
                    if seen
                        .own
                        .as_ref()
                        .is_some_and(|entry| entry.revision == own.revision) => {}
                Ok(seen) => {
                    return Ok(self
                        .granted(&seen)
                        .map_or_else(|| Waited::Look(Box::new(seen)), Waited::Granted));
                }
                // The entry outlives a spell without etcd, and so does the wait.
                Err(_) => {
                    sleep(RETRY).await;
                    listener.again();
                }
            }
        }
    }

    async fn reason_to_leave(&self, kept: &Kept) -> Leaving {
        tokio::select! {
            biased;
            () = self.entry.abandoned.cancelled() => Leaving::Abandoned,
            () = self.core.closing.cancelled() => Leaving::Closing,
            () = kept.lost() => Leaving::LeaseLost,
            () = sleep_until(self.deadline) => Leaving::WaitOver,
        }
    }

    /// Takes the request out of the queue, unless the lock was handed to it just now.
    async fn leave(&self, own: Waiting, leaving: Leaving) -> Result<Waited, Fault> {
        let tombstones = self.core.tombstone_lease().await?;
        let question = self.question();
        let cancelled = self
            .core
            .etcd
            .propose(table::cancel(&self.path, &own, tombstones, question))
            .await;
        if matches!(cancelled, Err(Fault::LeaseNotFound)) {
            self.core.forget_tombstone_lease(tombstones).await;
        }
        let answer = cancelled?;
        let skip = if answer.succeeded {
            table::CANCEL_OPS
        } else {
            0
        };
        let seen = question.read(&answer, skip)?;
        let token = self.granted(&seen);
        Ok(match (leaving, token) {
            (Leaving::WaitOver, Some(token)) => Waited::Granted(token),
            (Leaving::WaitOver, None) if answer.succeeded => Waited::End(Verdict::Denied(
                Acquisition::Held(self.core.held(&seen).await),
            )),
            (Leaving::WaitOver, None) => Waited::Look(Box::new(seen)),
            (Leaving::Abandoned, token) => Waited::End(Verdict::Abandoned(token)),
            // What was granted is undone with the rest of the request.
            (Leaving::LeaseLost, _) => return Err(Fault::LeaseNotFound),
            (Leaving::Closing, _) => return Err(Fault::unreachable("this replica is closing")),
        })
    }
}
