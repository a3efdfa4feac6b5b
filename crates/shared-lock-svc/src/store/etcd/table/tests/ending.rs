//! Rows by which tenures and requests end.

use super::{
    super::{close, end_request, force_release, hand_over, leave, release},
    *,
};
use crate::lease::Note;

/// Hands a lock over from a holder of one mode to a waiter of another, beside those that stay, with a
/// change since they were seen.
async fn hands_over(from: Mode, beside: &[Mode], to: Mode, change: Change) -> bool {
    let mut world = World::new().await;
    let hold = world.holds(world.meta(from)).await;
    let mut newest_permit = if let Mode::Permit { .. } = from {
        hold.token
    } else {
        0
    };
    for mode in beside {
        newest_permit = world.holds(world.meta(*mode)).await.token;
    }
    let head = world.waits(to).await;
    world.make(change, &head.waiter.meta).await;
    let (path, question) = (world.path.clone(), world.question());
    let left = (PARTING, world.lease);
    let row = hand_over(&path, &hold, &run([&head], newest_permit), left, &question);
    let passed = world.passes(row).await;
    if passed {
        let ended = hold.request().unwrap();
        assert!(world.is_there(path.tombstone(ended)).await);
        assert!(!world.is_there(path.waiter(&head.request)).await);
    }
    passed
}

#[tokio::test]
async fn a_lock_is_handed_over_if_there_is_room_without_who_leaves() {
    use Change::{AnotherHolder, Delay, Holder, Nothing, Permit, Reader, Waiter};
    use Mode::{Exclusive, Shared};
    let kinds: [(Mode, &[Mode], Mode, &[Change]); 8] = [
        (Exclusive, &[], Exclusive, &[AnotherHolder, Reader, Permit]),
        (Exclusive, &[], Shared, &[AnotherHolder, Permit]),
        (
            Exclusive,
            &[],
            permit(3, 1),
            &[AnotherHolder, Reader, Permit],
        ),
        (Shared, &[], Exclusive, &[Holder, Reader, Permit, Delay]),
        (Shared, &[], permit(3, 1), &[Holder, Reader, Permit, Delay]),
        (
            permit(3, 1),
            &[],
            Exclusive,
            &[Holder, Reader, Permit, Delay],
        ),
        (permit(3, 1), &[], Shared, &[Holder, Permit, Delay]),
        (
            permit(3, 1),
            &[permit(3, 1)],
            permit(3, 2),
            &[Holder, Reader, Permit, Delay],
        ),
    ];
    for (from, beside, to, changes) in kinds {
        for change in [Nothing, Waiter] {
            assert!(
                hands_over(from, beside, to, change).await,
                "{from:?} {to:?} {change:?}"
            );
        }
        for change in changes {
            assert!(
                !hands_over(from, beside, to, *change).await,
                "{from:?} {to:?} {change:?}"
            );
        }
    }
    // The delay of a holder is its own.
    for to in [Exclusive, Shared, permit(3, 1)] {
        assert!(hands_over(Exclusive, &[], to, Delay).await, "{to:?}");
    }
}

#[tokio::test]
async fn a_lock_is_handed_to_the_first_as_it_was_seen_and_alive() {
    let mut world = World::new().await;
    let hold = world.holds(world.meta(Mode::Exclusive)).await;
    let (path, lease) = (world.path.clone(), world.lease);
    let row = |waiting: &Waiting| {
        let (run, question) = (run([waiting], 0), Question::about(&path));
        hand_over(&path, &hold, &run, (PARTING, lease), &question)
    };
    let younger = serves_the_first_as_it_was_seen(&mut world, row).await;
    let late = Hold {
        token: hold.token - 1,
        ..hold.clone()
    };
    let question = Question::about(&path);
    let row_of_late = hand_over(
        &path,
        &late,
        &run([&younger], 0),
        (PARTING, lease),
        &question,
    );
    assert!(
        !world.passes(row_of_late).await,
        "the tenure is another one"
    );
    assert!(world.passes(row(&younger)).await);
    assert!(world.revision_of(path.holder()).await > hold.token);
    assert_eq!(
        world.revision_of(path.holder()).await,
        world.revision_of(path.meta()).await
    );
}

/// A lock-delay goes with the tenure that asked for it, in one step.
#[tokio::test]
async fn a_delay_is_put_kept_or_deleted_with_the_tenure() {
    for (has, wants) in [(true, true), (true, false), (false, true)] {
        let mut world = World::new().await;
        let mut holder = world.meta(Mode::Exclusive);
        let mut waiter = world.meta(Mode::Exclusive);
        let other = world.own_lease().await.lease;
        holder.leases.delay_lease = has.then_some(world.lease);
        waiter.leases.delay_lease = wants.then_some(other);
        waiter.leases.lease = world.own_lease().await.lease;
        waiter.leases.session = false;
        let hold = world.holds(holder).await;
        let head = world.waits_with(waiter).await;
        let (path, left) = (world.path.clone(), (PARTING, world.lease));
        let question = world.question();
        assert!(
            world
                .passes(hand_over(&path, &hold, &run([&head], 0), left, &question))
                .await
        );
        let delay = world.client.get(path.delay(), None).await.unwrap();
        let lease = delay.kvs().first().map(|kv| kv.lease());
        assert_eq!(lease, wants.then_some(other.0), "{has} {wants}");
    }
}

#[tokio::test]
async fn a_tenure_ends_by_its_own_token_and_a_release_only_if_nobody_waits() {
    for mode in [Mode::Exclusive, Mode::Shared, permit(3, 1)] {
        let mut world = World::new().await;
        let (path, left) = (world.path.clone(), (PARTING, world.lease));
        let hold = world.holds(world.meta(mode)).await;
        let late = Hold {
            token: hold.token - 1,
            ..hold.clone()
        };
        for row in [release, leave] {
            assert!(!world.passes(row(&path, &late, left)).await, "{mode:?}");
        }
        let waiting = world.waits(mode).await;
        assert!(!world.passes(release(&path, &hold, left)).await, "{mode:?}");
        assert!(world.passes(leave(&path, &hold, left)).await, "{mode:?}");
        assert!(!world.is_there(hold.key(&path)).await);
        world.delete(path.waiter(&waiting.request)).await;
        let again = world.holds(world.meta(mode)).await;
        assert!(!world.passes(release(&path, &hold, left)).await, "{mode:?}");
        assert!(world.passes(release(&path, &again, left)).await, "{mode:?}");
        let left_over = world.keys().await;
        let remembered = ["shared-lock-done", "shared-lock-done", "shared-lock-ended"];
        assert_eq!(left_over, remembered, "{mode:?}");
    }
}

#[tokio::test]
async fn what_ends_is_told_with_cause_trace_and_note() {
    let mut world = World::new().await;
    let path = world.path.clone();
    let note = |text: &str| Note::try_from(text.to_owned()).unwrap();
    let (kept, none) = (note("kept"), note(""));
    for (left, stands) in [
        (None, None),
        (Some(&kept), Some("kept")),
        (None, Some("kept")),
        (Some(&none), None),
    ] {
        let hold = world.holds(world.meta(Mode::Exclusive)).await;
        let parting = Parting {
            note: left,
            trace_id: Some("trace"),
            ..PARTING
        };
        let row = release(&path, &hold, (parting, world.lease));
        assert!(world.passes(row).await);
        let found = world.client.get(path.note(), None).await.unwrap();
        let found = found.kvs().first();
        assert_eq!(found.map(|kv| kv.value_str().unwrap()), stands);
        assert!(found.is_none_or(|kv| kv.lease() == 0), "it is on no lease");
        let marker = world.client.get(path.ending(), None).await.unwrap();
        let marker: serde_json::Value = serde_json::from_slice(marker.kvs()[0].value()).unwrap();
        assert_eq!(marker["cause"], "released");
        assert_eq!(marker["trace_id"], "trace");
        assert_eq!(marker["tenures"][0]["token"], hold.token);
        assert_eq!(
            marker["tenures"][0]["request"],
            hold.request().unwrap().as_str()
        );
    }
}

#[tokio::test]
async fn force_ends_what_was_read_and_nothing_if_more_came() {
    let kinds: [(&[Mode], &[Change]); 3] = [
        (
            &[Mode::Exclusive],
            &[Change::AnotherHolder, Change::Reader, Change::Permit],
        ),
        (
            &[Mode::Shared, Mode::Shared],
            &[Change::Holder, Change::Reader, Change::Permit],
        ),
        (
            &[permit(3, 1), permit(3, 1)],
            &[Change::Holder, Change::Reader, Change::Permit],
        ),
    ];
    for (held, changes) in kinds {
        for change in changes.iter().chain([&Change::Nothing]) {
            let mut world = World::new().await;
            let mut all = Vec::new();
            for mode in held {
                all.push(world.holds(world.meta(*mode)).await);
            }
            let meta = world.meta(Mode::Exclusive);
            world.make(*change, &meta).await;
            let row = force_release(&world.path, &all, &all, (PARTING, world.lease));
            let passed = world.passes(row).await;
            assert_eq!(passed, *change == Change::Nothing, "{held:?} {change:?}");
            for hold in &all {
                let tombstone = world.path.tombstone(hold.request().unwrap());
                assert_eq!(world.is_there(tombstone).await, passed);
            }
        }
    }
}

#[tokio::test]
async fn a_request_is_closed_if_it_neither_holds_nor_waits() {
    for mode in [Mode::Exclusive, Mode::Shared, permit(3, 1)] {
        let own = match mode {
            Mode::Exclusive => [Change::OwnEntry, Change::AnotherHolder],
            Mode::Shared => [Change::OwnEntry, Change::OwnReader],
            Mode::Permit { .. } => [Change::OwnEntry, Change::OwnPermit],
        };
        for change in own.into_iter().chain([Change::Nothing, Change::Waiter]) {
            let mut world = World::new().await;
            world.holds(world.meta(Mode::Exclusive)).await;
            let seen = world.revision_of(world.path.meta()).await;
            let meta = world.meta(mode);
            world.make(change, &meta).await;
            let (path, question) = (world.path.clone(), world.question());
            let row = close(&path, (mode, &meta.request), seen, world.lease, &question);
            let passed = world.passes(row).await;
            assert_eq!(passed, !own.contains(&change), "{mode:?} {change:?}");
            assert_eq!(world.is_there(path.tombstone(&meta.request)).await, passed);
        }
    }
}

#[tokio::test]
async fn the_end_of_a_request_by_its_id_always_stands() {
    let mut world = World::new().await;
    let path = world.path.clone();
    let meta = world.meta(Mode::Shared);
    world.make(Change::OwnReader, &meta).await;
    let question = Question::about(&path).request(&meta.request);
    let row = end_request(&path, &meta.request, world.lease, &question);
    assert!(world.passes(row).await);
    assert!(world.is_there(path.tombstone(&meta.request)).await);
}
