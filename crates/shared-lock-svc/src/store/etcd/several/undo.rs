//! What a request for several locks leaves in etcd that nobody was told of.
//!
//! A tombstone at any of its locks stops the whole of it, so that the first lock tells what became
//! of all.

use std::sync::Arc;

use tokio::time::sleep;

use super::{
    super::{
        acquire::RETRY,
        close::soon,
        fault::Fault,
        records::Cause,
        release::Named,
        sight::Sight,
        table::{self, Parting},
    },
    Group, Next, Won,
};
use crate::lease::{AllAcquisition, Anchor};

impl Group {
    /// What looks show of the request; `None` if there is nothing, and something may yet come.
    pub(super) fn remains(&self, seen: &[Sight]) -> Option<Next> {
        let lease = self.anchored.map(|anchored| anchored.leases.lease);
        let is_own = |seen: &Sight| {
            let hold = seen.own_hold.as_ref();
            hold.is_some_and(|hold| self.proposed && Some(hold.lease) == lease)
        };
        if let Some(hold) = seen.first().filter(|seen| is_own(seen)) {
            return Some(Next::Confirm(Won {
                token: hold.own_hold.as_ref().map_or(0, |hold| hold.token),
                notes: seen.iter().map(|seen| seen.note.clone()).collect(),
            }));
        }
        if seen
            .iter()
            .any(|seen| seen.own_hold.is_some() || seen.own.is_some())
        {
            return Some(Next::End(AllAcquisition::RequestKnown));
        }
        let ended = seen.iter().any(|seen| seen.ended);
        ended.then_some(Next::End(AllAcquisition::RequestEnded))
    }

    /// What became of a proposal whose answer is lost, if that is to be had soon.
    pub(super) async fn read_back(&mut self, fault: Fault) -> Result<Next, Fault> {
        if matches!(fault, Fault::Silent) {
            return Err(fault);
        }
        match soon(|| self.close()).await {
            Some(Some(next)) => Ok(next),
            Some(None) => {
                self.proposed = false;
                Err(fault)
            }
            None => Err(fault),
        }
    }

    /// Makes sure that nothing of the request is held, now or later, and ends a session that was
    /// opened for it.
    pub(super) async fn undo(&mut self) {
        while self.proposed {
            match self.close().await {
                Ok(Some(Next::Confirm(won))) => self.give_back(won.token).await,
                Ok(_) => self.proposed = false,
                Err(_) => sleep(RETRY).await,
            }
        }
        if let (Some(anchored), Anchor::Own(_)) = (self.anchored.take(), self.request.anchor) {
            self.core.revoke_lease_later(anchored.leases.lease);
        }
    }

    /// Puts the tombstone of a request of which there is nothing; else tells what there is.
    async fn close(&self) -> Result<Option<Next>, Fault> {
        loop {
            let seen = self.look_at_all().await?;
            if let Some(next) = self.remains(&seen) {
                return Ok(Some(next));
            }
            let (Some(path), Some(lock)) = (self.paths.first(), self.request.locks.first()) else {
                return Ok(None);
            };
            let question = self.question(path);
            let whose = (lock.mode, &self.request.request_id);
            let read = seen.first().map_or(0, |seen| seen.meta_revision);
            let row = |tombstones| table::close(path, whose, read, tombstones, &question);
            if self.core.propose_with_tombstones(row).await?.succeeded {
                return Ok(None);
            }
        }
    }

    /// Releases all locks.
    async fn give_back(&mut self, token: i64) {
        let Some(anchored) = self.anchored else {
            return;
        };
        let lease = anchored.leases.lease;
        let parting = Parting {
            trace_id: self.request.trace_id.as_deref(),
            ..Parting::because(Cause::Abandoned)
        };
        for path in &self.paths {
            let core = Arc::clone(&self.core);
            let named = Named { token, lease };
            while core.end_tenure(path, named, parting).await.is_err() {
                sleep(RETRY).await;
            }
        }
    }
}
