//! Rows by which requests get a lock.

use etcd_client::{Compare, CompareOp, TxnOp};

use super::{
    super::{
        keys::{self, LockPath},
        proposal::Proposal,
        records::Meta,
        room::Run,
        sight::Question,
    },
    compares::{Alive, absent, begins, is_alive, nobody_waits, room, run_waits, session_lives},
    writes::{grant, grant_run},
};
use crate::lease::{Mode, RequestId};

/// Takes a lock that has room and that nobody waits for. What the last holder left is read with
/// it: the last operation. It seldom fails, and asks nothing then: etcd would log the question with every
/// one that does not.
pub(in super::super) fn acquire(
    path: &LockPath,
    alive: Alive<'_>,
    (meta, value): (&Meta, &str),
    newest_permit: i64,
) -> Proposal {
    let mut when = begins(path, meta, alive);
    when.extend(takes(path, meta, newest_permit));
    when.extend(not_granted_yet(path, meta));
    let mut then = grant(path, meta, value);
    then.push(TxnOp::get(path.note(), None));
    Proposal::of(path, when, then).adding()
}

/// Takes several locks or none: all rows of [`acquire`] in one.
///
/// etcd allows 128 compares, and 30 locks need 123: what begins it is compared once, the tombstones
/// of the request at all locks are one range, and a permit of its own must not be among those that
/// were counted: one that came later is newer.
pub(in super::super) fn acquire_all(
    request: &RequestId,
    alive: Alive<'_>,
    wanted: &[Wanted<'_>],
) -> Proposal {
    let mut when = vec![
        Compare::create_revision(keys::tombstones(request), CompareOp::Equal, 0).with_prefix(),
        is_alive(alive),
    ];
    when.extend(
        wanted
            .first()
            .and_then(|first| session_lives(first.meta.leases)),
    );
    let (mut then, mut notes) = (Vec::new(), Vec::new());
    for Wanted {
        path,
        meta,
        value,
        newest_permit,
    } in wanted
    {
        when.extend(takes(path, meta, *newest_permit));
        when.extend(not_granted_yet(path, meta).filter(|_| meta.mode == Mode::Shared));
        then.extend(grant(path, meta, value));
        notes.push(TxnOp::get(path.note(), None));
    }
    then.extend(notes);
    Proposal::of_all(wanted.iter().map(|wanted| wanted.path), when, then).adding()
}

/// One lock of several.
pub(in super::super) struct Wanted<'a> {
    pub(in super::super) path: &'a LockPath,
    pub(in super::super) meta: &'a Meta,
    pub(in super::super) value: &'a str,
    pub(in super::super) newest_permit: i64,
}

/// Gives a lock that has room to the first of its queue: after an expiry nobody else does, nor
/// after an enqueue that lost a race with a release.
pub(in super::super) fn promote(path: &LockPath, run: &Run, otherwise: &Question<'_>) -> Proposal {
    let mut when = run_waits(path, run);
    when.extend(room(path, run.mode(), run.newest_permit, None));
    Proposal::of(path, when, grant_run(path, run)).or_else(otherwise.ops())
}

fn takes(path: &LockPath, meta: &Meta, newest_permit: i64) -> Vec<Compare> {
    let mut when = vec![nobody_waits(path)];
    when.extend(room(path, meta.mode, newest_permit, None));
    when
}

/// A request that comes twice is not granted over itself: its token would go stale. Where it is
/// exclusive, H itself is compared absent.
fn not_granted_yet(path: &LockPath, meta: &Meta) -> Option<Compare> {
    match meta.mode {
        Mode::Exclusive => None,
        Mode::Shared => Some(absent(path.reader(&meta.request))),
        Mode::Permit { .. } => Some(absent(path.permit(&meta.request))),
    }
}
