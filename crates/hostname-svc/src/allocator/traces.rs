//! The orders of events in which a weaker algorithm gives a name twice, loses one, or hangs: each was
//! found by a search of all interleavings, and is replayed here step by step.

mod imports;
mod keyless;
mod regressed;

use super::{
    cycle::{Answer, Request},
    plan::{Outcome, plan},
    world::{Fate, World, fence, job, owner, prefix},
};
use crate::{
    documents::{CounterDocument, GivenUp, SkipReason},
    hostname::{Counter, Prefix},
};

pub(super) fn read_idem(request: &Request) -> bool {
    matches!(request, Request::ReadIdem(_))
}

pub(super) fn write_idem(request: &Request) -> bool {
    matches!(request, Request::WriteIdem { .. })
}

pub(super) fn write_record(request: &Request) -> bool {
    matches!(request, Request::WriteRecord(_))
}

pub(super) fn read_record(request: &Request) -> bool {
    matches!(request, Request::ReadRecord(_))
}

fn write_counter(request: &Request) -> bool {
    matches!(request, Request::WriteCounter { .. })
}

/// Sweeps what is pending, then checks that every number is explained.
pub(super) fn settle_and_check(world: &mut World) {
    world.sweep(0);
    world.run(0);
    world.check_explained();
}

pub(super) fn skip(world: &World, number: u64) -> (SkipReason, Option<u64>) {
    let skip = &world.store.counter.last().unwrap().skipped[&number];
    (skip.why, skip.next.map(Counter::get))
}

#[test]
fn numbers_are_contiguous_from_one() {
    let mut world = World::new(1);
    world.start(0, &[("a", 1), ("keyless", 1), ("b", 3)]);
    world.run(0);
    assert_eq!(world.numbers("a"), [1]);
    assert_eq!(world.numbers("keyless"), [2]);
    assert_eq!(world.numbers("b"), [3, 4, 5]);
    settle_and_check(&mut world);
}

#[test]
fn nothing_is_answered_before_its_record_is_written() {
    let mut world = World::new(1);
    world.start(0, &[("a", 1)]);
    world.until(0, write_record);
    assert!(world.told.is_empty());
    world.step(0, 0, Fate::Served);
    assert_eq!(world.numbers("a"), [1]);
}

#[test]
fn a_crash_between_counter_and_records_is_settled_by_the_next_cycle() {
    let mut world = World::new(2);
    world.start(0, &[("a", 1), ("b", 1)]);
    world.until(0, write_idem);
    world.crash(0);
    world.start(1, &[("b", 1), ("c", 1)]);
    world.run(1);
    assert_eq!(world.numbers("b"), [2]);
    assert_eq!(world.numbers("c"), [3]);
    assert_eq!(world.replicas[1].recovered, 2);
    world.start(1, &[("a", 1)]);
    world.run(1);
    assert_eq!(world.numbers("a"), [1]);
    settle_and_check(&mut world);
}

#[test]
fn a_counter_older_than_the_one_last_settled_is_read_again() {
    let mut world = World::new(1);
    for name in ["a", "b"] {
        world.start(0, &[(name, 1)]);
        world.run(0);
    }
    world.start(0, &[("c", 1)]);
    world.step(0, 0, Fate::Stale(1));
    world.run(0);
    assert_eq!(world.numbers("c"), [3]);
    assert_eq!(world.replicas[0].conflicts, 0, "no write on an old counter");
    settle_and_check(&mut world);
}

#[test]
fn a_found_key_is_answered_only_after_its_record_is_there() {
    let mut world = World::new(2);
    world.start(0, &[("a", 1)]);
    world.until(0, write_record);
    world.start(1, &[("a", 1)]);
    world.step(1, 0, Fate::Stale(1));
    world.step(1, 0, Fate::Served);
    world.until(1, |request| *request == Request::ReadCounter);
    assert!(world.told.is_empty(), "the record is not written yet");
    world.run(1);
    assert_eq!(world.numbers("a"), [1]);
    world.run(0);
    settle_and_check(&mut world);
}

#[test]
fn a_stale_key_that_names_somebody_elses_hostname_is_not_answered() {
    let mut world = World::new(2);
    world.take(1);
    world.start(0, &[("a", 1)]);
    world.run(0);
    assert_eq!(world.numbers("a"), [2]);
    world.sweep(0);
    world.run(0);
    world.start(1, &[("a", 1)]);
    world.step(1, 0, Fate::Served);
    world.step(1, 0, Fate::Stale(1));
    world.run(1);
    assert_eq!(world.numbers("a"), [2]);
    assert_eq!(skip(&world, 1), (SkipReason::Taken, Some(2)));
    settle_and_check(&mut world);
}

#[test]
fn a_key_moves_on_with_a_number_that_was_taken() {
    let mut world = World::new(2);
    world.take(1);
    world.take(2);
    world.start(0, &[("a", 1)]);
    world.run(0);
    assert_eq!(world.numbers("a"), [3]);
    world.start(1, &[("a", 1)]);
    world.run(1);
    assert_eq!(world.numbers("a"), [3]);
    settle_and_check(&mut world);
}

#[test]
fn a_second_number_for_a_key_gets_no_record_and_is_skipped() {
    let mut world = World::new(2);
    world.start(0, &[("a", 1)]);
    world.run(0);
    world.sweep(0);
    world.run(0);
    world.start(1, &[("a", 1)]);
    world.step(1, 0, Fate::Served);
    world.step(1, 0, Fate::Stale(1));
    world.until(1, write_idem);
    world.step(1, 0, Fate::Served);
    world.step(1, 0, Fate::Served);
    // It knows that the key has a document: a read that does not see it is made again.
    world.step(1, 0, Fate::Stale(1));
    assert!(read_idem(&world.calls(1)[0].request));
    world.run(1);
    assert_eq!(world.numbers("a"), [1]);
    assert_eq!(skip(&world, 2), (SkipReason::Duplicate, None));
    settle_and_check(&mut world);
}

#[test]
fn a_helper_replaces_a_taken_number_of_an_owner_who_is_still_there() {
    let mut world = World::new(2);
    world.start(0, &[("a", 1)]);
    world.until(0, write_record);
    world.take(1);
    world.start(1, &[("b", 1)]);
    world.run(1);
    assert_eq!(skip(&world, 1), (SkipReason::Taken, Some(2)));
    world.run(0);
    assert_eq!(world.numbers("a"), [2]);
    assert_eq!(world.numbers("b"), [3]);
    settle_and_check(&mut world);
}

#[test]
fn an_own_record_is_not_taken_for_another_s_because_a_read_is_stale() {
    let mut world = World::new(1);
    world.start(0, &[("a", 1)]);
    world.until(0, write_record);
    world.step(0, 0, Fate::ReplyLost);
    world.until(0, read_record);
    world.step(0, 0, Fate::Stale(1));
    world.run(0);
    assert_eq!(world.numbers("a"), [1]);
    assert_eq!(world.store.counter.last().unwrap().value, 1);
    settle_and_check(&mut world);
}

#[test]
fn an_own_key_is_not_taken_for_a_duplicate_because_a_read_is_stale() {
    let mut world = World::new(1);
    world.start(0, &[("a", 1)]);
    world.until(0, write_idem);
    world.step(0, 0, Fate::ReplyLost);
    world.until(0, read_idem);
    world.step(0, 0, Fate::Stale(1));
    world.run(0);
    assert_eq!(world.numbers("a"), [1]);
    settle_and_check(&mut world);
}

#[test]
fn a_write_without_a_reply_is_made_again_and_not_believed() {
    let mut world = World::new(1);
    world.start(0, &[("a", 1)]);
    world.until(0, write_record);
    let before = world.calls(0)[0].request.clone();
    world.step(0, 0, Fate::Delayed);
    assert!(world.told.is_empty());
    assert_eq!(world.calls(0)[0].request, before);
    world.run(0);
    world.land(0);
    settle_and_check(&mut world);
}

#[test]
fn an_own_entry_of_a_cycle_given_up_is_settled_again() {
    let mut world = World::new(1);
    world.start(0, &[("a", 1), ("keyless", 1)]);
    world.until(0, write_idem);
    world.give_up(0);
    world.start(0, &[("a", 1)]);
    world.run(0);
    assert_eq!(world.numbers("a"), [1]);
    assert_eq!(world.store.records.len(), 2);
    settle_and_check(&mut world);
}

#[test]
fn what_is_known_to_be_settled_is_not_read_again() {
    let mut world = World::new(1);
    world.start(0, &[("keyless", 1)]);
    world.run(0);
    world.start(0, &[("keyless-2", 1)]);
    world.step(0, 0, Fate::Served);
    assert!(write_counter(&world.calls(0)[0].request));
}

#[test]
fn only_the_taken_numbers_of_several_are_replaced() {
    let mut world = World::new(1);
    world.take(1);
    world.start(0, &[("a", 2)]);
    world.run(0);
    assert_eq!(world.numbers("a"), [3, 2]);
    settle_and_check(&mut world);
}

#[test]
fn a_key_used_with_another_body_is_told_so() {
    let mut world = World::new(2);
    world.start(0, &[("a", 1)]);
    world.run(0);
    let mut other = job(0, "a", 1);
    other.body_hash = "another".to_owned();
    for replica in [0, 1] {
        world.told.clear();
        world.start_jobs(replica, vec![other.clone()], false);
        world.run(replica);
        assert_eq!(world.told[&owner("a")], Answer::KeyReused);
    }
    assert_eq!(world.store.counter.last().unwrap().value, 1);
}

#[test]
fn a_lower_token_of_the_same_epoch_may_not_move_the_counter() {
    let counter = CounterDocument {
        fence: Some(fence(7)),
        ..CounterDocument::default()
    };
    let plan_under = |fence| plan(&prefix(), &counter, &[], &[&job(0, "a", 1)], Some(&fence));
    assert_eq!(plan_under(fence(6)).unwrap_err().by, 7);
    assert_eq!(plan_under(fence(7)).unwrap().counter.value, 1);
    let alone = plan(&prefix(), &counter, &[], &[&job(0, "a", 1)], None).unwrap();
    assert_eq!(alone.counter.fence, Some(fence(7)), "it stays as it was");
    assert_eq!(alone.counter.pending[0].lock, None);
    let mut other = fence(1);
    other.epoch = "restored".to_owned();
    let plan = plan_under(other).unwrap();
    assert_eq!(plan.left_epoch.as_deref(), Some("epoch"));
    assert_eq!(plan.counter.fence.unwrap().epoch, "restored");
}

#[test]
fn an_allocation_that_is_always_taken_is_given_up_for_good() {
    let mut world = World::new(2);
    for number in 1..=70 {
        world.take(number);
    }
    for replica in [0, 1] {
        world.start(replica, &[("a", 1)]);
        world.run(replica);
        assert_eq!(
            world.told[&owner("a")],
            Answer::GivenUp(GivenUp::AlwaysTaken)
        );
    }
    settle_and_check(&mut world);
}

#[test]
fn a_prefix_without_a_number_left_says_so_and_moves_nothing() {
    let long = |text: &str, n| text.repeat(n);
    let prefix = Prefix::new(
        long("a", 40).try_into().unwrap(),
        long("b", 18).try_into().unwrap(),
        "prod".to_owned().try_into().unwrap(),
    )
    .unwrap();
    let counter = CounterDocument {
        value: 8,
        ..CounterDocument::default()
    };
    let jobs = [job(0, "a", 2), job(1, "b", 1), job(2, "c", 1)];
    let plan = plan(&prefix, &counter, &[], &jobs.each_ref(), Some(&fence(1))).unwrap();
    let exhausted = [0, 2].map(|place| (place, GivenUp::Exhausted));
    assert_eq!(plan.refused, exhausted);
    assert_eq!(plan.counter.value, 9);
    assert_eq!(plan.counter.pending.len(), 1);
}

#[test]
fn a_taken_number_without_a_successor_is_given_up() {
    let mut counter = CounterDocument::default();
    let first = plan(
        &prefix(),
        &counter,
        &[],
        &[&job(0, "a", 1)],
        Some(&fence(1)),
    )
    .unwrap();
    counter = first.counter;
    counter.value = u64::MAX;
    let taken = Outcome::Taken(vec![(Counter::new(1).unwrap(), Some(owner("b")))]);
    let plan = plan(&prefix(), &counter, &[taken], &[], Some(&fence(1))).unwrap();
    assert_eq!(plan.counter.pending[0].failed, Some(GivenUp::Exhausted));
    assert_eq!(plan.counter.skipped[&1].next, None);
}
