//! The "if" of the rows: what etcd compares, on the state before the transaction.

use etcd_client::{Compare, CompareOp};

use super::super::{
    keys::{self, LockPath},
    records::{Leases, Meta},
    room::Run,
    sight::{Hold, Waiting},
};
use crate::lease::{LeaseId, Mode, RequestId};

/// L as the proposer knows it: a proposal made before the replica lost its liveness is void.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Alive<'a> {
    pub(in super::super) replica: &'a str,
    /// Create revision of L.
    pub(in super::super) since: i64,
}

/// The request has not ended, nor its replica, nor its session.
pub(super) fn begins(path: &LockPath, meta: &Meta, alive: Alive<'_>) -> Vec<Compare> {
    let mut when = vec![absent(path.tombstone(&meta.request)), is_alive(alive)];
    when.extend(session_lives(meta.leases));
    when
}

pub(super) fn session_lives(leases: Leases) -> Option<Compare> {
    leases.session.then(|| present(keys::guard(leases.lease)))
}

pub(super) fn is_alive(alive: Alive<'_>) -> Compare {
    Compare::create_revision(keys::replica(alive.replica), CompareOp::Equal, alive.since)
}

/// There is room for one more of this mode, beside those that stay. `newest_permit` is the mod
/// revision of the newest permit that was counted, that of who leaves too: none was added since.
///
/// Of an exclusive tenure that leaves it is compared elsewhere that it is there; the delay is its
/// own.
pub(super) fn room(
    path: &LockPath,
    mode: Mode,
    newest_permit: i64,
    leaving: Option<&Hold>,
) -> Vec<Compare> {
    let mut when = Vec::new();
    let leaving = leaving.map(|hold| hold.key(path));
    let gap = if leaving.as_ref() == Some(&path.holder()) {
        Some(path.delay())
    } else {
        when.push(absent(path.holder()));
        leaving
    };
    let (from, to) = match mode {
        Mode::Exclusive => (path.others(), path.others_end()),
        Mode::Shared => (path.permits(), path.readers()),
        Mode::Permit { .. } => (path.delay(), path.others_end()),
    };
    when.extend(none_within(from, to, gap));
    if let Mode::Permit { .. } = mode {
        when.push(none_newer(path.permits(), newest_permit));
    }
    when
}

/// The request does not hold the lock yet. An exclusive one has no key of its own: it is another's
/// as long as it is the one that was read.
pub(super) fn does_not_hold(
    path: &LockPath,
    mode: Mode,
    request: &RequestId,
    meta_revision: i64,
) -> Vec<Compare> {
    match mode {
        Mode::Exclusive => vec![unchanged(path.meta(), meta_revision)],
        Mode::Shared | Mode::Permit { .. } => {
            vec![absent(path.reader(request)), absent(path.permit(request))]
        }
    }
}

/// The whole run waits as it did, with leases that live, and its head is the head.
pub(super) fn run_waits(path: &LockPath, run: &Run) -> Vec<Compare> {
    let mut when = Vec::new();
    for waiting in &run.waiters {
        when.push(stands(path, waiting));
        let leases = waiting.waiter.meta.leases.all();
        when.extend(leases.map(|lease| present(keys::guard(lease))));
    }
    when.extend(run.waiters.first().map(|head| nobody_before(path, head)));
    when
}

/// The entry is the one that was seen.
pub(super) fn stands(path: &LockPath, waiting: &Waiting) -> Compare {
    unchanged(path.waiter(&waiting.request), waiting.revision)
}

pub(super) fn nobody_waits(path: &LockPath) -> Compare {
    Compare::create_revision(path.queue(), CompareOp::Equal, 0).with_prefix()
}

fn nobody_before(path: &LockPath, head: &Waiting) -> Compare {
    Compare::create_revision(path.queue(), CompareOp::Greater, head.place - 1).with_prefix()
}

/// The tenure is there, and is the one that its holder was told of.
pub(super) fn holds(path: &LockPath, hold: &Hold) -> Compare {
    unchanged(hold.key(path), hold.token)
}

/// No key with this prefix was written after that revision.
pub(super) fn none_newer(prefix: String, revision: i64) -> Compare {
    Compare::mod_revision(prefix, CompareOp::Less, revision + 1).with_prefix()
}

/// No key of the range is there, but for the one that may be.
fn none_within(from: String, to: String, gap: Option<String>) -> Vec<Compare> {
    let none = |from: String, to: String| {
        Compare::create_revision(from, CompareOp::Equal, 0).with_range(to)
    };
    match gap {
        Some(gap) if from <= gap && gap < to => {
            let behind = format!("{gap}\0");
            let before = (from < gap).then(|| none(from, gap));
            before.into_iter().chain([none(behind, to)]).collect()
        }
        _ => vec![none(from, to)],
    }
}

pub(super) fn absent(key: String) -> Compare {
    Compare::create_revision(key, CompareOp::Equal, 0)
}

pub(super) fn gone(lease: LeaseId) -> Compare {
    absent(keys::guard(lease))
}

fn present(key: String) -> Compare {
    Compare::create_revision(key, CompareOp::Greater, 0)
}

pub(super) fn unchanged(key: String, revision: i64) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, revision)
}
