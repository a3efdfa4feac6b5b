//! What a request leaves in etcd that nobody was told of, and how it is undone.
//!
//! An answer that got lost says neither yes nor no, and what was proposed may still come about. So
//! before "not acquired" is final, a tombstone stands that nothing of the request gets past.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    acquire::{Handling, Next, RETRY, Won},
    fault::Fault,
    records::Meta,
    sight::{Sight, Waiting},
    table,
};

/// How long a caller waits for what became of a proposal whose answer is lost.
const READ_BACK: Duration = Duration::from_millis(500);

/// How soon that is asked again: a connection that broke is soon replaced.
const ANEW: Duration = Duration::from_millis(20);

/// What there is of a request.
pub(super) enum Remains {
    /// It holds the lock.
    Tenure(Won),
    /// It waits.
    Entry(Box<Waiting>),
    /// It holds or waits by another replica, or by an earlier call: that is not ours to end.
    Elsewhere,
    /// Nothing, and nothing comes.
    Ended,
}

impl Handling {
    /// What a look shows of the request; `None` if there is nothing, and something may yet come.
    pub(super) fn remains(&self, seen: &Sight) -> Option<Remains> {
        if let Some(hold) = &seen.own_hold {
            let own = hold.meta.as_ref().is_some_and(|meta| self.is_own(meta));
            let won = || Won {
                token: hold.token,
                note: seen.note.clone(),
                confirmed: None,
            };
            return Some(if own {
                Remains::Tenure(won())
            } else {
                Remains::Elsewhere
            });
        }
        if let Some(own) = &seen.own {
            let is_own = self.is_own(&own.waiter.meta);
            let entry = || Remains::Entry(own.clone().into());
            return Some(if is_own { entry() } else { Remains::Elsewhere });
        }
        seen.ended.then_some(Remains::Ended)
    }

    /// Whether a record is of this very call: an earlier one of the same id had another lease, or
    /// had been answered before this one proposed anything.
    fn is_own(&self, meta: &Meta) -> bool {
        let lease = self.anchored.map(|anchored| anchored.leases.lease);
        self.proposed
            && meta.replica == self.wish.core.replica.id
            && Some(meta.leases.lease) == lease
    }

    /// What became of a proposal whose answer is lost, if that is to be had soon.
    pub(super) async fn read_back(&mut self, fault: Fault) -> Result<Next, Fault> {
        if matches!(fault, Fault::Silent) {
            // Whoever waits has waited long enough.
            return Err(fault);
        }
        match soon(|| self.close()).await {
            Some(Some(remains)) => Ok(remains.next()),
            Some(None) => {
                self.proposed = false;
                Err(fault)
            }
            None => Err(fault),
        }
    }

    /// Makes sure that no proposal of this request has or will have any effect.
    pub(super) async fn undo(&mut self) {
        while self.proposed {
            match self.close().await {
                Ok(Some(Remains::Tenure(won))) => return self.give_back(won.token).await,
                Ok(Some(Remains::Entry(own))) => {
                    // Whether it went or was granted meanwhile, the next round sees.
                    let _ = self.wish.core.cancel(&self.wish, &own).await;
                }
                Ok(Some(Remains::Elsewhere | Remains::Ended) | None) => self.proposed = false,
                Err(_) => sleep(RETRY).await,
            }
        }
        self.drop_leases();
    }

    /// Puts the tombstone of a request of which there is nothing; else tells what there is.
    async fn close(&self) -> Result<Option<Remains>, Fault> {
        let wish = Arc::clone(&self.wish);
        let mut seen = wish.look().await?;
        loop {
            if let Some(remains) = self.remains(&seen) {
                return Ok(Some(remains));
            }
            let (question, request) = (wish.question(), &wish.request);
            let whose = (request.mode, &request.request_id);
            let read = seen.meta_revision;
            let row = |tombstones| table::close(&wish.path, whose, read, tombstones, &question);
            let answer = wish.core.propose_with_tombstones(row).await?;
            if answer.succeeded {
                return Ok(None);
            }
            seen = question.read(&answer)?;
        }
    }
}

/// What `close` tells once etcd answers it, if that is soon.
pub(super) async fn soon<T, F>(close: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, Fault>>,
{
    let told = timeout(READ_BACK, async {
        loop {
            match close().await {
                Ok(told) => return told,
                Err(_) => sleep(ANEW).await,
            }
        }
    });
    told.await.ok()
}
