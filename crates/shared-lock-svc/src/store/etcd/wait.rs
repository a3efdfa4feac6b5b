//! A request in the queue: put there, woken when its entry goes, and taken out when it leaves.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, sleep_until};

use super::{
    Core,
    acquire::{Handling, Next, Verdict, Wish, Won},
    client::Answer,
    close::Remains,
    fault::Fault,
    leases::Kept,
    records::Waiter,
    sight::{Sight, Waiting},
    table,
};
use crate::lease::{Acquisition, Holder, LockKey};

/// How long to wait before a look that failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Why a request leaves the queue on its own account.
enum Leaving {
    WaitOver,
    Abandoned,
    LeaseLost,
    Closing,
    /// It would wait for itself.
    Deadlock(Vec<(LockKey, Holder)>),
}

impl Handling {
    /// Stands in the queue of a lock that was seen taken.
    pub(super) async fn enqueue(&mut self, meta_revision: i64) -> Result<Next, Fault> {
        let wish = Arc::clone(&self.wish);
        let Some(anchored) = self.anchor().await? else {
            return Ok(Next::End(Verdict::Denied(Acquisition::SessionGone)));
        };
        let presence = self.presence().await?;
        let seat = wish.core.seat(&presence).await?;
        let waiter = Waiter {
            value: wish.request.value.clone(),
            meta: wish.meta(anchored),
        };
        // From before the entry is made, so that its end cannot be missed.
        self.listener = Some(wish.core.view.listen(&wish.path, &waiter.meta.request));
        let (alive, question) = (wish.core.alive(&presence), wish.question());
        let place = (&waiter, seat.lease());
        let row = table::enqueue(&wish.path, alive, place, meta_revision, &question);
        let Some(answer) = self.propose(row).await? else {
            return Ok(Next::Look);
        };
        if !answer.succeeded {
            let seen = question.read(&answer)?;
            self.note_presence(&seen, &presence);
            return Ok(Next::Judge(seen.into()));
        }
        self.seat = Some(seat);
        let own = Waiting {
            request: wish.request.request_id.clone(),
            place: answer.revision,
            revision: answer.revision,
            waiter,
        };
        Ok(Next::Wait(own.into()))
    }

    /// Waits until the lock is handed over, or there is a reason to leave.
    pub(super) async fn wait(&mut self, own: Waiting) -> Result<Next, Fault> {
        let wish = Arc::clone(&self.wish);
        let anchored = self.anchored.ok_or(Fault::LeaseNotFound)?;
        let kept = wish.core.keep(anchored);
        let Some(listener) = self.listener.take() else {
            // What was missed is seen by the next look.
            let listener = wish.core.view.listen(&wish.path, &own.request);
            listener.again();
            self.listener = Some(listener);
            return Ok(Next::Wait(own.into()));
        };
        loop {
            tokio::select! {
                biased;
                leaving = self.reason_to_leave(&kept) => return self.leave(own, leaving).await,
                () = listener.woken() => {}
            }
            if let Some(ring) = listener.ring() {
                let words = ring.words();
                return self.leave(own, Leaving::Deadlock(words)).await;
            }
            let question = wish.question().guards(anchored.leases.own());
            // It was most likely granted: its lease is confirmed along with the look.
            let limit = wish.core.options.operation_timeout;
            let keeping = wish.core.keep_lease_once(anchored.leases.lease, limit);
            let (seen, confirmed) = tokio::join!(wish.core.look(&question), keeping);
            match seen {
                Ok(seen) => {
                    if let Some(Remains::Tenure(won)) = self.remains(&seen) {
                        let confirmed = confirmed.ok().flatten();
                        return Ok(Next::Confirm(Won { confirmed, ..won }));
                    }
                    let mut leases = anchored.leases.all();
                    let lives = leases.all(|lease| seen.scene.guarded.contains(&lease));
                    if still_waits(&own, &seen) {
                        if !lives {
                            return self.leave(own, Leaving::LeaseLost).await;
                        }
                    } else if lives || anchored.leases.session || self.remains(&seen).is_some() {
                        return Ok(Next::Judge(seen.into()));
                    } else {
                        // Evicted: whoever lost its lease has lost its place.
                        return Err(Fault::LeaseNotFound);
                    }
                }
                // The entry outlives a spell without etcd, and so does the wait.
                Err(_) => {
                    sleep(RETRY).await;
                    listener.again();
                }
            }
        }
    }

    async fn reason_to_leave(&self, kept: &[Kept]) -> Leaving {
        tokio::select! {
            biased;
            () = self.entry.abandoned.cancelled() => Leaving::Abandoned,
            () = self.wish.core.closing.cancelled() => Leaving::Closing,
            () = any_lost(kept) => Leaving::LeaseLost,
            () = sleep_until(self.wish.deadline) => Leaving::WaitOver,
        }
    }

    /// Takes the request out of the queue, unless the lock was handed to it just now.
    async fn leave(&mut self, own: Waiting, leaving: Leaving) -> Result<Next, Fault> {
        let wish = Arc::clone(&self.wish);
        let answer = wish.core.cancel(&wish, &own).await?;
        let seen = wish.question().read(&answer)?;
        let remains = if answer.succeeded {
            None
        } else {
            self.remains(&seen)
        };
        self.proposed = !answer.succeeded;
        let session = self
            .anchored
            .is_some_and(|anchored| anchored.leases.session);
        let denied = |acquisition| Ok(Next::End(Verdict::Denied(acquisition)));
        match (leaving, remains) {
            (Leaving::WaitOver, None) if answer.succeeded => {
                denied(Acquisition::Held(wish.core.held(&seen).await))
            }
            (Leaving::Deadlock(ring), None) if answer.succeeded => {
                denied(Acquisition::Deadlock(ring))
            }
            (Leaving::WaitOver | Leaving::Deadlock(_), _) => Ok(Next::Judge(seen.into())),
            (Leaving::Abandoned, Some(Remains::Tenure(won))) => {
                Ok(Next::End(Verdict::Abandoned(Some(won.token))))
            }
            (Leaving::Abandoned, _) => Ok(Next::End(Verdict::Abandoned(None))),
            (Leaving::LeaseLost, _) if session => denied(Acquisition::SessionGone),
            // What was granted is undone with the rest of the request.
            (Leaving::LeaseLost, _) => Err(Fault::LeaseNotFound),
            (Leaving::Closing, _) => Err(Fault::unreachable("this replica is closing")),
        }
    }
}

impl Core {
    /// Takes a request out of the queue, and looks how it stands.
    pub(super) async fn cancel(
        self: &Arc<Self>,
        wish: &Wish,
        own: &Waiting,
    ) -> Result<Answer, Fault> {
        let question = wish.question();
        let row = |tombstones| table::cancel(&wish.path, own, tombstones, &question);
        self.propose_with_tombstones(row).await
    }
}

fn still_waits(own: &Waiting, seen: &Sight) -> bool {
    let entry = seen.own.as_ref();
    entry.is_some_and(|entry| entry.revision == own.revision)
}

/// Resolves when etcd says that one of the leases is gone.
async fn any_lost(kept: &[Kept]) {
    match kept {
        [one] => one.lost().await,
        [one, other, ..] => tokio::select! {
            () = one.lost() => {}
            () = other.lost() => {}
        },
        [] => std::future::pending().await,
    }
}
