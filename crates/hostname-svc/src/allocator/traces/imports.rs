//! Imports of chosen numbers, and floors.

use super::{settle_and_check, skip, write_counter, write_idem, write_record};
use crate::{
    allocator::{
        Want,
        cycle::Answer,
        world::{Fate, World, job, job_for, owner},
    },
    documents::{GivenUp, SkipReason},
    hostname::Counter,
};

fn chosen(numbers: &[u64]) -> Want {
    Want::Chosen(numbers.iter().copied().filter_map(Counter::new).collect())
}

/// Starts a cycle that imports `numbers` for `name`.
fn import(world: &mut World, replica: usize, name: &str, numbers: &[u64]) {
    world.start_jobs(replica, vec![job_for(0, name, chosen(numbers))], false);
}

fn raise(world: &mut World, replica: usize, floor: u64) {
    world.start_jobs(
        replica,
        vec![job_for(0, "keyless-floor", Want::Floor(floor))],
        false,
    );
}

fn counter(world: &World) -> &crate::documents::CounterDocument {
    world.store.counter.last().unwrap()
}

#[test]
fn chosen_numbers_are_imported_and_those_between_are_explained() {
    let mut world = World::new(1);
    import(&mut world, 0, "a", &[3, 4, 7]);
    world.run(0);
    assert_eq!(world.numbers("a"), [3, 4, 7]);
    assert_eq!(counter(&world).passed, [(1, 2), (5, 6)].into());
    world.start(0, &[("b", 1)]);
    world.run(0);
    assert_eq!(world.numbers("b"), [8]);
    import(&mut world, 0, "a", &[3, 4, 7]);
    world.run(0);
    settle_and_check(&mut world);
}

#[test]
fn a_crash_in_an_import_is_finished_by_the_next_cycle() {
    for stop in [write_idem, write_record] {
        let mut world = World::new(2);
        import(&mut world, 0, "a", &[2, 4]);
        world.until(0, stop);
        world.crash(0);
        world.start(1, &[("b", 1)]);
        world.run(1);
        assert_eq!(world.numbers("b"), [5]);
        import(&mut world, 1, "a", &[2, 4]);
        world.run(1);
        assert_eq!(world.numbers("a"), [2, 4]);
        settle_and_check(&mut world);
    }
}

#[test]
fn a_taken_number_of_an_import_is_left_out_and_not_replaced() {
    let mut world = World::new(1);
    world.take(3);
    import(&mut world, 0, "a", &[2, 3, 5]);
    world.run(0);
    assert_eq!(world.numbers("a"), [2, 5]);
    assert_eq!(skip(&world, 3), (SkipReason::Taken, None));
    import(&mut world, 0, "a", &[2, 3, 5]);
    world.run(0);
    assert_eq!(world.numbers("a"), [2, 5]);
    settle_and_check(&mut world);

    world.take(7);
    import(&mut world, 0, "b", &[7]);
    world.run(0);
    let taken = Answer::GivenUp(GivenUp::Taken);
    assert_eq!(world.told[&owner("b")], taken);
    import(&mut world, 0, "b", &[7]);
    world.run(0);
    assert_eq!(world.told[&owner("b")], taken);
    settle_and_check(&mut world);
}

#[test]
fn an_import_of_a_number_that_was_passed_is_refused_once_and_for_all() {
    let mut world = World::new(2);
    world.start(0, &[("a", 2)]);
    world.run(0);
    import(&mut world, 0, "b", &[2, 9]);
    world.run(0);
    let passed = Answer::GivenUp(GivenUp::Passed);
    assert_eq!(world.told[&owner("b")], passed);
    settle_and_check(&mut world);
    world.crash(0);
    import(&mut world, 0, "b", &[2, 9]);
    world.run(0);
    assert_eq!(world.told[&owner("b")], passed);
    assert_eq!(counter(&world).value, 2);
    settle_and_check(&mut world);
}

#[test]
fn a_retry_that_reads_a_stale_key_is_not_told_that_its_import_was_refused() {
    let mut world = World::new(2);
    import(&mut world, 0, "a", &[4]);
    world.run(0);
    settle_and_check(&mut world);
    import(&mut world, 1, "a", &[4]);
    // The counter is fresh and stands at 4; the document of the key is not seen.
    world.step(1, 0, Fate::Served);
    world.step(1, 0, Fate::Stale(1));
    world.run(1);
    assert_eq!(world.numbers("a"), [4]);
    settle_and_check(&mut world);
}

#[test]
fn a_floor_passes_over_numbers_and_is_never_lowered() {
    let mut world = World::new(1);
    raise(&mut world, 0, 5);
    world.run(0);
    raise(&mut world, 0, 3);
    world.run(0);
    assert_eq!(counter(&world).value, 5);
    world.start(0, &[("a", 1)]);
    world.run(0);
    assert_eq!(world.numbers("a"), [6]);
    settle_and_check(&mut world);
}

#[test]
fn a_caller_without_a_key_whose_number_was_passed_over_takes_another() {
    let mut world = World::new(2);
    world.start_jobs(0, vec![job(0, "keyless", 1)], false);
    world.until(0, write_counter);
    raise(&mut world, 1, 3);
    world.step(0, 0, Fate::Delayed);
    world.run(1);
    world.run(0);
    assert_eq!(world.numbers("keyless"), [4]);
    settle_and_check(&mut world);
}
