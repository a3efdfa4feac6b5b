//! Rows by which tenures and requests end.

use etcd_client::{Compare, TxnOp};

use super::{
    super::{
        keys::LockPath,
        proposal::Proposal,
        records::{self, Cause, Ended, Ending, Meta},
        room::Run,
        sight::{Hold, Question},
    },
    compares::{
        absent, does_not_hold, holds, nobody_waits, none_newer, room, run_waits, unchanged,
    },
    writes::{delete, end, grant_run, put, tombstone},
};
use crate::lease::{LeaseId, Mode, Note, RequestId};

/// What is left behind by a tenure that ends.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Parting<'a> {
    pub(in super::super) cause: Cause,
    /// For the next holder; `None` leaves the note of an earlier one.
    pub(in super::super) note: Option<&'a Note>,
    pub(in super::super) trace_id: Option<&'a str>,
    pub(in super::super) reason: Option<&'a str>,
}

/// Ends a tenure and gives the lock to the run that fits then, in one step.
pub(in super::super) fn hand_over(
    path: &LockPath,
    hold: &Hold,
    run: &Run,
    (parting, tombstones): (Parting<'_>, LeaseId),
    otherwise: &Question<'_>,
) -> Proposal {
    let mut when = vec![holds(path, hold)];
    when.extend(run_waits(path, run));
    when.extend(room(path, run.mode(), run.newest_permit, Some(hold)));
    let mut then = parting.ops(path, [hold], tombstones);
    if hold.mode == Mode::Exclusive && run.mode() == Mode::Exclusive {
        // It is written over: etcd refuses to delete and put one key.
        let has_delay = |meta: &Meta| meta.leases.delay_lease.is_some();
        if !run.waiters.iter().any(|w| has_delay(&w.waiter.meta)) {
            then.push(delete(path.delay()));
        }
    } else {
        then.extend(end(path, hold));
    }
    then.extend(grant_run(path, run));
    Proposal::of(path, when, then).or_else(otherwise.ops())
}

/// Ends a tenure when nobody waits.
pub(in super::super) fn release(
    path: &LockPath,
    hold: &Hold,
    left: (Parting<'_>, LeaseId),
) -> Proposal {
    end_alone(
        path,
        hold,
        vec![holds(path, hold), nobody_waits(path)],
        left,
    )
}

/// Ends a tenure beside others, while somebody waits who does not fit, or cannot be served: whoever
/// sees that the head fits promotes it.
pub(in super::super) fn leave(
    path: &LockPath,
    hold: &Hold,
    left: (Parting<'_>, LeaseId),
) -> Proposal {
    end_alone(path, hold, vec![holds(path, hold)], left)
}

/// It asks nothing when it fails, as [`super::acquire`].
fn end_alone(
    path: &LockPath,
    hold: &Hold,
    when: Vec<Compare>,
    (parting, tombstones): (Parting<'_>, LeaseId),
) -> Proposal {
    let mut then = parting.ops(path, [hold], tombstones);
    then.extend(end(path, hold));
    Proposal::of(path, when, then)
}

/// Ends tenures and leaves nothing behind: all that an etcd without space lets pass. Whoever sees
/// that the head of the queue fits promotes it when there is space.
///
/// Nothing rides with it, since one put refuses all.
pub(in super::super) fn free(path: &LockPath, ended: &[Hold]) -> Proposal {
    let when: Vec<_> = ended.iter().map(|hold| holds(path, hold)).collect();
    let then: Vec<_> = ended.iter().flat_map(|hold| end(path, hold)).collect();
    Proposal::alone(when, then)
}

/// Ends tenures against the will of their holders: those of `ended`, if nothing was added to all
/// that was read.
pub(in super::super) fn force_release(
    path: &LockPath,
    all: &[Hold],
    ended: &[Hold],
    (parting, tombstones): (Parting<'_>, LeaseId),
) -> Proposal {
    let holder = all.iter().find(|hold| hold.mode == Mode::Exclusive);
    let newest = all.iter().map(|hold| hold.token).max().unwrap_or_default();
    let when = [
        unchanged(path.holder(), holder.map_or(0, |holder| holder.token)),
        none_newer(path.readers(), newest),
        none_newer(path.permits(), newest),
    ];
    let mut then = parting.ops(path, ended, tombstones);
    then.extend(ended.iter().flat_map(|hold| end(path, hold)));
    Proposal::of(path, when, then)
}

/// Ends a request, whatever has become of it, and asks what has.
pub(in super::super) fn end_request(
    path: &LockPath,
    request: &RequestId,
    tombstones: LeaseId,
    question: &Question<'_>,
) -> Proposal {
    let mut then = vec![tombstone(path, request, tombstones)];
    then.extend(question.ops());
    Proposal::of(path, [], then)
}

/// Puts the tombstone of a request that has ended already.
pub(in super::super) fn entomb(
    path: &LockPath,
    request: &RequestId,
    tombstones: LeaseId,
) -> Proposal {
    Proposal::of(path, [], [tombstone(path, request, tombstones)])
}

/// Ends a request that neither holds nor waits, so that nothing of it that is still under way comes
/// to anything. The question is asked only if it is not so.
pub(in super::super) fn close(
    path: &LockPath,
    (mode, request): (Mode, &RequestId),
    meta_revision: i64,
    tombstones: LeaseId,
    otherwise: &Question<'_>,
) -> Proposal {
    let mut when = vec![absent(path.waiter(request))];
    when.extend(does_not_hold(path, mode, request, meta_revision));
    Proposal::of(path, when, [tombstone(path, request, tombstones)]).or_else(otherwise.ops())
}

impl Parting<'_> {
    /// Nothing but the cause.
    pub(in super::super) fn because(cause: Cause) -> Self {
        Self {
            cause,
            note: None,
            trace_id: None,
            reason: None,
        }
    }

    /// What is written beside the end of these tenures.
    fn ops<'h>(
        self,
        path: &LockPath,
        holds: impl IntoIterator<Item = &'h Hold>,
        tombstones: LeaseId,
    ) -> Vec<TxnOp> {
        let mut requests = Vec::new();
        let tenures = holds.into_iter().map(|hold| {
            requests.extend(hold.request().cloned());
            Ended {
                token: hold.token,
                mode: hold.mode,
                holder: hold.meta.as_ref().map(|meta| meta.holder.clone()),
                request: hold.request().cloned(),
            }
        });
        let ending = records::encode(Ending {
            cause: self.cause,
            tenures: tenures.collect(),
            trace_id: self.trace_id.map(str::to_owned),
            reason: self.reason.map(str::to_owned),
        });
        // First, so that whoever watches knows the cause before the effect.
        let mut ops = vec![put(path.ending(), ending, tombstones)];
        let ended = requests.iter();
        ops.extend(ended.map(|request| tombstone(path, request, tombstones)));
        ops.extend(self.note.map(|note| match note.as_str() {
            "" => delete(path.note()),
            text => TxnOp::put(path.note(), text, None),
        }));
        ops
    }
}
