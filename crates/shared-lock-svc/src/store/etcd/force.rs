//! An administrator's word against all holders of a lock.

use std::sync::Arc;

use super::{
    Core,
    fault::Fault,
    keys::LockPath,
    records::Cause,
    table::{self, Parting},
};
use crate::{lease::LockView, store::ForceRelease};

/// Tenures that one transaction ends: each needs a few of the operations that etcd allows.
const AT_A_TIME: usize = 25;

/// How often it begins anew when a proposal failed for no reason of the lock's.
const MOST_TRIES: usize = 2;

impl Core {
    /// Ends every tenure of a lock. Returns how the lock stood before.
    pub(super) async fn force_release(
        self: &Arc<Self>,
        path: &LockPath,
        order: &ForceRelease,
    ) -> Result<LockView, Fault> {
        let before = self.view_of(path).await?;
        let parting = Parting {
            trace_id: order.trace_id.as_deref(),
            reason: order.reason.as_deref(),
            ..Parting::because(Cause::Forced)
        };
        let (mut all, mut tries) = (self.holds_now(path).await?, 0);
        // Whoever is granted the lock because of it keeps it.
        let mut doomed = all.clone();
        while !doomed.is_empty() {
            let some = &doomed[..doomed.len().min(AT_A_TIME)];
            let row = |tombstones| table::force_release(path, &all, some, (parting, tombstones));
            let proposed = match self.etcd.is_full() {
                true => self.free(path, some).await,
                false => self.propose_with_tombstones(row).await,
            };
            match proposed {
                Ok(answer) if answer.succeeded => {
                    some.iter().for_each(|hold| self.retire(hold));
                    doomed.drain(..some.len());
                }
                // Something was added to what was read.
                Ok(_) => {}
                Err(fault) if fault.deserves_a_look() && tries < MOST_TRIES => tries += 1,
                Err(fault) => return Err(fault),
            }
            all = self.holds_now(path).await?;
            doomed.retain(|hold| all.iter().any(|stands| stands.is(hold)));
        }
        Ok(before)
    }
}
