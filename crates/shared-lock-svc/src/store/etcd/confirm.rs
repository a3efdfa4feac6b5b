//! Nobody is told "acquired" before etcd has confirmed that the tenure's lease is alive.
//!
//! etcd puts keys on a lease that has run out, as long as it is not revoked. The keepalive that
//! proves the lease alive is sent along with the acquire, so that both take one round trip; what it
//! promises counts from its send, whichever of the two etcd hears first.

use std::{pin::pin, sync::Arc};

use tokio::time::{Instant, sleep};

use super::{
    acquire::{Handling, RETRY, Verdict, Won, fencing_token},
    anchor::Anchored,
    client::Answer,
    fault::Fault,
    keepalive::Confirmed,
    proposal::Proposal,
};
use crate::lease::{Acquisition, Tenure};

impl Handling {
    /// Proposes to take the lock and keeps its lease alive meanwhile; `None` as [`Handling::propose`].
    pub(super) async fn propose_and_keep(
        &mut self,
        proposal: Proposal,
        anchored: Anchored,
    ) -> Result<Option<(Answer, Option<Confirmed>)>, Fault> {
        let core = Arc::clone(&self.wish.core);
        let limit = core.options.operation_timeout;
        let mut keeping = pin!(core.keep_lease_once(anchored.leases.lease, limit));
        let mut kept = None;
        let answer = {
            let mut proposing = pin!(self.propose(proposal));
            loop {
                tokio::select! {
                    answer = &mut proposing => break answer?,
                    done = &mut keeping, if kept.is_none() => kept = Some(done),
                }
            }
        };
        let Some(answer) = answer else {
            return Ok(None);
        };
        if answer.succeeded && kept.is_none() {
            kept = Some(keeping.await);
        }
        // One that failed is sent once more, after the grant.
        Ok(Some((answer, kept.and_then(Result::ok).flatten())))
    }

    /// Has the lease of what was won confirmed, unless that is done.
    pub(super) async fn confirm(&self, won: Won) -> Result<Verdict, Fault> {
        let core = &self.wish.core;
        let leases = self.anchored.ok_or(Fault::LeaseNotFound)?.leases;
        let mut confirmed = won.confirmed.filter(Confirmed::is_fresh);
        loop {
            if self.entry.abandoned.is_cancelled() {
                return Ok(Verdict::Abandoned(Some(won.token)));
            }
            let kept = match confirmed.take() {
                Some(confirmed) => Ok(Some(confirmed)),
                None => {
                    let limit = core.options.operation_timeout;
                    core.keep_lease_once(leases.lease, limit).await
                }
            };
            match kept {
                Ok(Some(confirmed)) => {
                    let left = confirmed.renewal();
                    return Ok(Verdict::Granted(Tenure {
                        lease_id: leases.lease,
                        fencing_token: fencing_token(won.token)?,
                        ttl: left.ttl,
                        until: left.until,
                        note: won.note,
                    }));
                }
                Ok(None) if leases.session => {
                    return Ok(Verdict::Denied(Acquisition::SessionGone));
                }
                // The request was ended by its id meanwhile, and its lease with it.
                Ok(None) if self.wish.look().await?.ended => {
                    return Ok(Verdict::Denied(Acquisition::RequestEnded));
                }
                Ok(None) => return Err(Fault::LeaseNotFound),
                // Whoever has time to wait also outwaits an election in etcd.
                Err(_) if Instant::now() < self.wish.deadline => sleep(RETRY).await,
                Err(fault) => return Err(fault),
            }
        }
    }
}
