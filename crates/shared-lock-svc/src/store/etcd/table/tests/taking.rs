//! Rows by which requests get a lock.

use super::{
    super::{Wanted, acquire, acquire_all, promote},
    *,
};

/// Takes a lock that `beside` share already, with a change since they were counted.
async fn takes(mode: Mode, beside: &[Mode], change: Change) -> bool {
    let mut world = World::new().await;
    let mut newest_permit = 0;
    for mode in beside {
        newest_permit = world.holds(world.meta(*mode)).await.token;
    }
    let meta = world.meta(mode);
    world.make(change, &meta).await;
    let path = world.path.clone();
    let row = acquire(&path, world.alive(), (&meta, "v"), newest_permit);
    let passed = world.passes(row).await;
    let key = match mode {
        Mode::Exclusive => path.meta(),
        Mode::Shared => path.reader(&meta.request),
        Mode::Permit { .. } => path.permit(&meta.request),
    };
    let was_there = [Change::Holder, Change::OwnReader, Change::OwnPermit].contains(&change);
    assert!(world.is_there(key).await == passed || was_there);
    passed
}

/// Each mode, and who may share the lock with it.
const BESIDE: [(Mode, &[Mode]); 3] = [
    (Mode::Exclusive, &[]),
    (Mode::Shared, &[Mode::Shared]),
    (PERMIT, &[PERMIT]),
];

const ENDS_ALL: [Change; 4] = [
    Change::Tombstone,
    Change::ReplicaGone,
    Change::ReplicaReborn,
    Change::SessionGone,
];

#[tokio::test]
async fn a_lock_is_taken_if_nothing_came_in_between() {
    for (mode, beside) in BESIDE {
        assert!(takes(mode, beside, Change::Nothing).await, "{mode:?}");
        for change in keeps_from_taking(mode).iter().chain(&ENDS_ALL) {
            assert!(!takes(mode, beside, *change).await, "{mode:?} {change:?}");
        }
    }
    assert!(takes(Mode::Shared, &[Mode::Shared], Change::Reader).await);
}

/// A permit of the request that was counted with the others: its compare alone tells.
#[tokio::test]
async fn a_permit_is_not_taken_over_itself() {
    let mut world = World::new().await;
    let own = world.meta(permit(9, 1));
    let held = world.holds(own.clone()).await;
    let row = acquire(&world.path, world.alive(), (&own, "v"), held.token);
    assert!(!world.passes(row).await);
}

/// Promotes a head of this mode, with a change since it was seen.
async fn promotes(mode: Mode, beside: &[Mode], change: Change) -> bool {
    let mut world = World::new().await;
    let mut newest_permit = 0;
    for mode in beside {
        newest_permit = world.holds(world.meta(*mode)).await.token;
    }
    let head = world.waits(mode).await;
    world.make(change, &head.waiter.meta).await;
    let question = world.question();
    let row = promote(&world.path, &run([&head], newest_permit), &question);
    world.passes(row).await
}

#[tokio::test]
async fn a_head_is_promoted_if_there_still_is_room() {
    for (mode, beside) in BESIDE {
        assert!(promotes(mode, beside, Change::Nothing).await, "{mode:?}");
        // Whoever waits behind it does not matter.
        assert!(promotes(mode, beside, Change::Waiter).await, "{mode:?}");
        for change in in_the_way_of(mode) {
            assert!(
                !promotes(mode, beside, *change).await,
                "{mode:?} {change:?}"
            );
        }
    }
}

#[tokio::test]
async fn nobody_is_promoted_past_another_nor_after_leaving_nor_on_a_dead_lease() {
    let mut world = World::new().await;
    let path = world.path.clone();
    let row = |waiting: &Waiting| promote(&path, &run([waiting], 0), &Question::about(&path));
    let younger = serves_the_first_as_it_was_seen(&mut world, row).await;
    assert!(
        world.passes(row(&younger)).await,
        "nothing is wrong with it"
    );
    assert!(world.is_there(path.meta()).await);
    assert!(!world.is_there(path.waiter(&younger.request)).await);
}

#[tokio::test]
async fn a_run_is_promoted_as_a_whole_or_not_at_all() {
    let mut world = World::new().await;
    let mut waiters = Vec::new();
    for _ in 0..16 {
        waiters.push(world.waits(Mode::Shared).await);
    }
    let path = world.path.clone();
    let last = waiters.last().unwrap().clone();
    let row = || {
        let run = Run {
            waiters: waiters.clone(),
            newest_permit: 0,
        };
        promote(&path, &run, &Question::about(&path))
    };
    world.writes(&last.request, &last.waiter).await;
    assert!(
        !world.passes(row()).await,
        "the last of them is not the one that was seen"
    );
    world.delete(path.waiter(&last.request)).await;
    assert!(!world.is_there(path.reader(&waiters[0].request)).await);
    waiters.pop();
    let run = Run {
        waiters: waiters.clone(),
        newest_permit: 0,
    };
    let row = promote(&path, &run, &Question::about(&path));
    assert!(world.passes(row).await);
    let token = world.revision_of(path.reader(&waiters[0].request)).await;
    for waiting in &waiters {
        assert_eq!(
            world.revision_of(path.reader(&waiting.request)).await,
            token
        );
    }
}

/// etcd takes 128 compares, and no more.
#[tokio::test]
async fn thirty_locks_of_any_mode_fit_into_one_transaction() {
    let mut world = World::new().await;
    for mode in [Mode::Exclusive, Mode::Shared, permit(9, 1)] {
        for stopped in [true, false] {
            let paths: Vec<_> = (0..30)
                .map(|_| LockPath::of(&LockKey::parse(RequestId::random().as_str()).unwrap()))
                .collect();
            let one = world.meta(mode);
            let metas: Vec<_> = paths
                .iter()
                .map(|path| Meta {
                    key: path.key.clone(),
                    ..one.clone()
                })
                .collect();
            let wanted: Vec<_> = paths
                .iter()
                .zip(&metas)
                .map(|(path, meta)| Wanted {
                    path,
                    meta,
                    value: "v",
                    newest_permit: 0,
                })
                .collect();
            if stopped {
                let tombstone = paths[29].tombstone(&one.request);
                world.put(tombstone, "", world.lease).await;
            }
            let row = acquire_all(&one.request, world.alive(), &wanted);
            assert_eq!(world.passes(row).await, !stopped, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn several_locks_are_taken_if_nothing_came_in_between_at_any_of_them() {
    for (mode, _) in BESIDE {
        let changes = keeps_from_taking(mode);
        for change in changes.iter().chain(&ENDS_ALL).chain([&Change::Nothing]) {
            let mut world = World::new().await;
            let meta = world.meta(mode);
            world.make(*change, &meta).await;
            let free = LockPath::of(&LockKey::parse(RequestId::random().as_str()).unwrap());
            let other = Meta {
                key: free.key.clone(),
                ..meta.clone()
            };
            let wanted = |path, meta| Wanted {
                path,
                meta,
                value: "v",
                newest_permit: 0,
            };
            let both = [wanted(&free, &other), wanted(&world.path, &meta)];
            let row = acquire_all(&meta.request, world.alive(), &both);
            let passed = world.passes(row).await;
            assert_eq!(passed, *change == Change::Nothing, "{mode:?} {change:?}");
        }
    }
}
