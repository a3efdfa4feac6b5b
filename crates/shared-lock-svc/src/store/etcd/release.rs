//! The end of a tenure or of a request, and the hand-over to the next in the queue.

use std::sync::Arc;

use super::{
    Core,
    fault::Fault,
    keys::LockPath,
    sight::{HolderKey, Question, Sight, Waiting},
    table,
    view::Glimpse,
};
use crate::lease::{LeaseId, RequestId};

/// A release that failed is looked at and proposed again this often. An etcd without space fails it
/// for ever; the caller may ask again.
const MOST_TRIES: usize = 2;

/// What the next proposal of a release is made from.
struct Known {
    holder: Option<HolderKey>,
    /// The request that holds the lock, if it is one of ours.
    tenant: Option<RequestId>,
    head: Option<Waiting>,
}

impl From<Sight> for Known {
    fn from(sight: Sight) -> Self {
        let tenant = sight.holding_request().cloned();
        Self {
            holder: sight.holder,
            tenant,
            head: sight.head,
        }
    }
}

impl From<Glimpse> for Known {
    fn from(glimpse: Glimpse) -> Self {
        Self {
            holder: glimpse.holder,
            tenant: glimpse.tenant,
            head: glimpse.head,
        }
    }
}

impl Core {
    /// Ends the tenure of that token, of that lease if one is named; `false` if it was over.
    ///
    /// It is over when the holder key has another mod revision: then this came too late, or an
    /// earlier try of it was heard after all.
    pub(super) async fn end_tenure(
        self: &Arc<Self>,
        path: &LockPath,
        token: i64,
        lease: Option<LeaseId>,
    ) -> Result<bool, Fault> {
        let is_it = |holder: &HolderKey| {
            holder.token == token && lease.is_none_or(|lease| lease == holder.lease)
        };
        let whole = Question::about(path).head();
        let mut known = Known::from(self.view.glimpse(path));
        if !known.holder.as_ref().is_some_and(is_it) || known.tenant.is_none() {
            // The view may be behind: that a tenure is over is said by etcd alone.
            known = self.look(whole).await?.into();
        }
        let (mut tries, mut perhaps) = (0, false);
        while let Some(holder) = known.holder.filter(is_it) {
            known = match self.propose_end(path, holder, &known).await {
                Ok(None) => {
                    self.retire(holder.lease, known.tenant.as_ref());
                    return Ok(true);
                }
                Ok(Some(seen)) => seen.into(),
                Err(fault) if fault.deserves_a_look() && tries < MOST_TRIES => {
                    tries += 1;
                    perhaps |= fault.is_unknown();
                    self.look(whole).await?.into()
                }
                Err(fault) => return Err(fault),
            };
        }
        Ok(perhaps)
    }

    /// Ends a request, whatever it has got or waits for; `false` if it had nothing.
    pub(super) async fn end_request(
        self: &Arc<Self>,
        path: &LockPath,
        request: &RequestId,
    ) -> Result<bool, Fault> {
        let question = Question::about(path).request(request);
        let mut ended = false;
        loop {
            let tombstones = self.tombstone_lease().await?;
            let proposed = self
                .etcd
                .propose(table::end_request(path, request, tombstones, question))
                .await;
            if matches!(proposed, Err(Fault::LeaseNotFound)) {
                self.forget_tombstone_lease(tombstones).await;
                continue;
            }
            let seen = question.read(&proposed?, table::END_REQUEST_OPS)?;
            if seen.holding_request() == Some(request)
                && let Some(holder) = seen.holder
            {
                ended |= self.end_tenure(path, holder.token, None).await?;
            } else if let Some(own) = seen.own {
                // Whether it went or changed meanwhile, the next round sees.
                let cancel = table::cancel(path, &own, tombstones, question);
                ended |= match self.etcd.propose(cancel).await {
                    Ok(answer) => answer.succeeded,
                    Err(fault) if fault.is_unknown() => true,
                    Err(fault) => return Err(fault),
                };
            } else {
                return Ok(ended);
            }
        }
    }

    /// Looks at a lock: a linearizable read.
    pub(super) async fn look(&self, question: Question<'_>) -> Result<Sight, Fault> {
        question.read(&self.etcd.look(table::look(question)).await?, 0)
    }

    /// Removes a waiter whose tenure lease is gone, if it is the head that was to get the lock.
    pub(super) async fn evict_if_dead(
        &self,
        path: &LockPath,
        tried: &Waiting,
        seen: &Sight,
    ) -> Result<(), Fault> {
        let is_head = seen
            .head
            .as_ref()
            .is_some_and(|head| head.revision == tried.revision);
        if is_head && !seen.guarded {
            self.etcd.propose(table::evict(path, tried)).await?;
        }
        Ok(())
    }

    /// Proposes the end of a tenure: `None` if it came about, else what stood in the way.
    async fn propose_end(
        self: &Arc<Self>,
        path: &LockPath,
        holder: HolderKey,
        known: &Known,
    ) -> Result<Option<Sight>, Fault> {
        let tombstones = self.tombstone_lease().await?;
        let mut question = Question::about(path).head();
        let txn = match &known.head {
            Some(head) => {
                question = question.guard(head.waiter.lease);
                let ended = known.tenant.as_ref().map(|tenant| (tenant, tombstones));
                table::hand_over(path, holder.token, head, ended, question)
            }
            None => table::release(
                path,
                holder.token,
                known.tenant.as_ref(),
                tombstones,
                question,
            ),
        };
        let proposed = self.etcd.propose(txn).await;
        if matches!(proposed, Err(Fault::LeaseNotFound)) {
            // The waiter's lease is compared to be alive, so it is the one for tombstones.
            self.forget_tombstone_lease(tombstones).await;
        }
        let answer = proposed?;
        if answer.succeeded {
            return Ok(None);
        }
        let seen = question.read(&answer, 0)?;
        if let Some(head) = &known.head {
            self.evict_if_dead(path, head, &seen).await?;
        }
        Ok(Some(seen))
    }

    /// Ends the lease of a tenure that is over: a lease of ours serves one tenure only.
    fn retire(self: &Arc<Self>, lease: LeaseId, tenant: Option<&RequestId>) {
        if tenant.is_some() && lease != LeaseId(0) {
            self.revoke_lease_later(lease);
        }
    }
}
