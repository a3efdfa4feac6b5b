//! Callers without an idempotency key, whose write of the counter got no reply: what they were given, and
//! what replaced it.

use super::{Fate, Request, World, settle_and_check, write_counter};

#[test]
fn a_caller_without_a_key_finds_its_number_after_a_lost_reply() {
    let mut world = World::new(2);
    world.start(0, &[("keyless", 1)]);
    world.until(0, write_counter);
    world.step(0, 0, Fate::ReplyLost);
    world.start(1, &[("b", 1)]);
    world.run(1);
    world.sweep(1);
    world.run(1);
    world.run(0);
    assert_eq!(world.numbers("keyless"), [1]);
    assert_eq!(world.numbers("b"), [2]);
    settle_and_check(&mut world);
}

#[test]
fn a_caller_without_a_key_follows_its_number_to_the_one_that_replaced_it() {
    let mut world = World::new(2);
    world.start(0, &[("keyless", 1)]);
    world.until(0, write_counter);
    world.step(0, 0, Fate::ReplyLost);
    world.take(1);
    world.start(1, &[("b", 1)]);
    world.run(1);
    world.sweep(1);
    world.run(1);
    world.run(0);
    assert_eq!(world.numbers("keyless"), [2]);
    settle_and_check(&mut world);
}

#[test]
fn a_number_had_for_certain_is_not_forgotten_for_one_that_may_not_be() {
    let mut world = World::new(2);
    world.start(0, &[("a", 1), ("keyless", 1)]);
    world.until(0, write_counter);
    world.step(0, 0, Fate::Served);
    world.take(1);
    world.take(2);
    // The other one moves `a` from 1 to 3 and `keyless` from 2 to 4.
    world.sweep(1);
    world.until(1, write_counter);
    world.step(1, 0, Fate::Served);
    world.until(1, write_counter);
    // Here `a` is found to have moved on, so this one would move `keyless` to 3.
    world.until(0, write_counter);
    assert_eq!(world.numbers("a"), [3]);
    world.step(0, 0, Fate::Delayed);
    world.step(0, 0, Fate::Served);
    world.run(1);
    world.run(0);
    assert_eq!(world.numbers("keyless"), [4]);
    settle_and_check(&mut world);
}

#[test]
fn a_counter_older_than_what_is_known_is_read_again() {
    let mut world = World::new(2);
    world.start(0, &[("keyless", 1)]);
    world.until(0, write_counter);
    world.step(0, 0, Fate::ReplyLost);
    world.start(1, &[("b", 1)]);
    world.run(1);
    world.sweep(1);
    world.run(1);
    world.step(0, 0, Fate::Served);
    world.step(0, 0, Fate::Stale(3));
    assert_eq!(world.calls(0)[0].request, Request::ReadCounter);
    world.run(0);
    assert_eq!(world.numbers("keyless"), [1]);
    settle_and_check(&mut world);
}

#[test]
fn a_write_of_the_counter_that_was_never_accepted_leaves_no_claim() {
    let mut world = World::new(2);
    world.start(0, &[("keyless", 1)]);
    world.until(0, write_counter);
    world.step(0, 0, Fate::Delayed);
    world.start(1, &[("keyless-2", 1)]);
    world.run(1);
    world.run(0);
    world.land(0);
    assert_eq!(world.numbers("keyless-2"), [1]);
    assert_eq!(world.numbers("keyless"), [2]);
    settle_and_check(&mut world);
}
