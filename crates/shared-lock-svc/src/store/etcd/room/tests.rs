use std::sync::Arc;

use super::*;
use crate::{
    lease::{Holder, LockKey, Metadata, RequestId},
    store::etcd::records::{Leases, Meta, Waiter},
};

fn permit(limit: u32, weight: u32) -> Mode {
    Mode::Permit {
        limit: limit.try_into().unwrap(),
        weight: weight.try_into().unwrap(),
    }
}

fn meta(mode: Mode, lease: i64) -> Meta {
    Meta {
        key: LockKey::parse("k").unwrap(),
        request: RequestId::random(),
        replica: "r".into(),
        mode,
        leases: Leases {
            lease: LeaseId(lease),
            session: false,
            delay_lease: None,
        },
        holder: Holder::unnamed(),
        metadata: Metadata::new(),
        trace_id: None,
        ttl_ms: 0,
        nth: 0,
        since_ms: 0,
    }
}

fn hold(mode: Mode, token: i64) -> Hold {
    Hold {
        mode,
        token,
        lease: LeaseId(token),
        meta: Some(Arc::new(meta(mode, token))),
    }
}

/// A lock with these tenures, of tokens from 1 up, and a queue on leases from 101 up.
fn scene(held: &[Mode], queue: &[Mode]) -> Scene {
    let mut scene = Scene::default();
    for (token, mode) in (1..).zip(held) {
        let hold = hold(*mode, token);
        match mode {
            Mode::Exclusive => scene.tenures.holder = Some(hold),
            Mode::Shared => scene.tenures.readers.push(hold),
            Mode::Permit { .. } => scene.tenures.permits.push(hold),
        }
    }
    for (lease, mode) in (101..).zip(queue) {
        let meta = meta(*mode, lease);
        scene.guarded.insert(LeaseId(lease));
        scene.queue.push(Waiting {
            request: meta.request.clone(),
            place: lease,
            revision: lease,
            waiter: Waiter {
                value: String::new(),
                meta,
            },
        });
    }
    scene
}

fn run_length(scene: &Scene, leaving: Option<&Hold>) -> usize {
    scene.next_run(leaving).map_or(0, |run| run.waiters.len())
}

use Mode::{Exclusive, Shared};

#[test]
fn a_run_is_what_fits_at_the_head_and_nobody_behind_who_does_not() {
    let cases: [(&[Mode], &[Mode], usize); 11] = [
        (&[], &[Exclusive, Shared], 1),
        (&[], &[Shared, Shared, Exclusive, Shared], 2),
        (&[], &[Shared, permit(9, 1)], 1),
        (&[], &[permit(3, 1), permit(3, 1), permit(2, 1)], 2),
        (&[], &[permit(3, 2), permit(3, 2), permit(3, 1)], 1),
        (&[Shared], &[Shared, Exclusive], 1),
        (&[Shared], &[Exclusive, Shared], 0),
        (&[Exclusive], &[Exclusive], 0),
        (&[permit(3, 1)], &[permit(9, 2), permit(9, 1)], 1),
        (&[permit(3, 1)], &[permit(2, 2)], 0),
        (&[permit(3, 1)], &[Shared], 0),
    ];
    for (held, queue, length) in cases {
        let scene = scene(held, queue);
        assert_eq!(run_length(&scene, None), length, "{held:?} {queue:?}");
    }
}

#[test]
fn who_leaves_is_not_in_the_way() {
    let cases: [(&[Mode], &[Mode], usize); 7] = [
        (&[Exclusive], &[Exclusive, Exclusive], 1),
        (&[Exclusive], &[Shared, Shared, Exclusive], 2),
        (&[Shared], &[Exclusive], 1),
        (&[Shared, Shared], &[Exclusive], 0),
        (&[permit(3, 2)], &[permit(3, 3)], 1),
        (&[permit(3, 2), permit(3, 1)], &[permit(3, 3)], 0),
        (&[permit(1, 1), permit(3, 1)], &[permit(3, 2)], 1),
    ];
    for (held, queue, length) in cases {
        let scene = scene(held, queue);
        let leaving = hold(held[0], 1);
        assert_eq!(
            run_length(&scene, Some(&leaving)),
            length,
            "{held:?} {queue:?}"
        );
    }
}

#[test]
fn a_permit_that_leaves_still_counts_as_seen() {
    let scene = scene(&[permit(3, 1), permit(3, 1)], &[permit(3, 2)]);
    let newest = hold(permit(3, 1), 2);
    assert_eq!(scene.next_run(Some(&newest)).unwrap().newest_permit, 2);
}

#[test]
fn a_lock_delay_keeps_everybody_out_but_whom_its_own_holder_lets_in() {
    let mut free = scene(&[], &[Shared]);
    free.tenures.delayed = true;
    assert_eq!(run_length(&free, None), 0);
    let mut held = scene(&[Exclusive], &[Shared]);
    held.tenures.delayed = true;
    assert_eq!(run_length(&held, Some(&hold(Exclusive, 1))), 1);
}

#[test]
fn a_run_is_bounded() {
    let scene = scene(&[], &[Shared; 20]);
    assert_eq!(run_length(&scene, None), 16);
}

#[test]
fn no_two_of_a_run_have_one_lease() {
    let mut scene = scene(&[], &[Shared, Shared, Shared]);
    scene.queue[1].waiter.meta.leases.lease = LeaseId(101);
    assert_eq!(run_length(&scene, None), 1);
}

#[test]
fn who_cannot_be_served_ends_the_run_and_at_the_head_is_dead() {
    let mut scene = scene(&[], &[Shared, Shared, Shared]);
    scene.guarded.remove(&LeaseId(102));
    assert_eq!(
        (run_length(&scene, None), scene.dead_heads().count()),
        (1, 0)
    );
    scene.guarded.remove(&LeaseId(101));
    assert_eq!(
        (run_length(&scene, None), scene.dead_heads().count()),
        (0, 2)
    );
    // So is one whose lock-delay could not be put.
    scene.queue[2].waiter.meta.leases.delay_lease = Some(LeaseId(7));
    assert_eq!(scene.dead_heads().count(), 3);
}
