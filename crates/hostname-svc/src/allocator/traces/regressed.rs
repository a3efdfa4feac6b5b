//! A counter that is lower than earlier holders of the lock said.

use super::write_counter;
use crate::{
    allocator::{
        Want,
        cycle::{Answer, Cycle, End, Job},
        world::{Fate, World, fence, job, job_for, owner, prefix},
    },
    documents::CounterDocument,
};

/// Starts a cycle for `jobs` that knows that the counter has come as far as `mark`.
fn start(world: &mut World, jobs: Vec<Job>, mark: u64) {
    world.start_jobs(0, jobs.clone(), false);
    let known = world.replicas[0].known.clone();
    let cycle = Cycle::new(prefix(), Some(fence(9)), jobs, known, false);
    world.replicas[0].cycle = Some(cycle.with_mark(mark));
}

#[test]
fn a_counter_from_an_older_state_gives_nothing_out() {
    let mut world = World::new(1);
    start(&mut world, vec![job(0, "a", 1)], 5);
    world.run(0);
    assert_eq!(
        world.replicas[0].stopped,
        Some(End::Regressed { value: 0, mark: 5 })
    );
    assert_eq!(world.store.counter, []);
}

#[test]
fn a_read_that_is_stale_for_a_while_is_no_older_state() {
    let mut world = World::new(1);
    world.start(0, &[("a", 5)]);
    world.run(0);
    world.crash(0);
    start(&mut world, vec![job(0, "b", 1)], 5);
    // The first look at the counter, and one of the key.
    for _ in 0..2 {
        world.step(0, 0, Fate::Stale(9));
    }
    for _ in 0..3 {
        world.step(0, 0, Fate::Stale(9));
    }
    world.run(0);
    assert_eq!(world.numbers("b"), [6]);
}

#[test]
fn a_floor_beyond_everything_given_out_lets_the_prefix_go_on_above_it() {
    for (floor, raised) in [(4, false), (5, true), (8, true)] {
        let mut world = World::new(1);
        let floor_job = job_for(1, "keyless-floor", Want::Floor(floor));
        start(&mut world, vec![job(0, "a", 1), floor_job], 5);
        world.run(0);
        if raised {
            assert_eq!(world.numbers("a"), [floor + 1]);
            let told = &world.told[&owner("keyless-floor")];
            assert!(matches!(told, Answer::Raised(counter) if counter.value > floor));
        } else {
            assert!(world.told.is_empty());
            assert_eq!(world.store.counter, []);
        }
    }
}

#[test]
fn what_an_older_state_left_pending_is_replaced_above_the_floor() {
    let mut world = World::new(2);
    world.start(1, &[("old", 1)]);
    world.until(1, write_counter);
    world.run(1);
    world.sweep(1);
    world.run(1);
    let mut counter: CounterDocument = world.store.counter[0].clone();
    counter.passed.clear();
    world.store.counter = vec![counter];
    // Its name was given to somebody else by the state that is lost.
    world.store.records.clear();
    world.store.idem.clear();
    world.take(1);
    let floor_job = job_for(1, "keyless-floor", Want::Floor(7));
    start(&mut world, vec![floor_job], 7);
    world.run(0);
    let moved = &world.store.counter.last().unwrap().skipped[&1];
    assert_eq!(moved.next.map(|next| next.get()), Some(8));
}
