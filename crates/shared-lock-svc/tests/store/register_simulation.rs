//! The stores on a register in a simulated world, seed by seed.

use crate::register_world::{self, BUGS, NONE};

const SEEDS: u64 = 200;

/// Seeds that a planted bug may hide from.
const SEEDS_FOR_A_BUG: u64 = 60;

#[test]
fn no_seed_breaks_a_promise_of_a_store_on_a_register() {
    let (mut told, mut lost, mut crashes) = (0, 0, 0);
    for seed in 0..SEEDS {
        let run = register_world::run(seed, &NONE);
        if let Some(violation) = run.violation {
            panic!(
                "seed {seed}: {violation}\nsee it again: cargo run -p shared-lock-svc --example sim -- register {seed}"
            );
        }
        told += run.told as u64;
        lost += run.lost as u64;
        crashes += run.crashes as u64;
    }
    println!("{SEEDS} seeds: {told} grants, {lost} lost answers, {crashes} crashes");
    // A world in which little happens would prove little.
    assert!(told > SEEDS * 10, "{told}");
    assert!(lost > SEEDS, "{lost}");
    assert!(crashes > SEEDS, "{crashes}");
}

#[test]
fn every_bug_planted_into_a_store_on_a_register_is_caught() {
    let mut missed = Vec::new();
    for bug in BUGS {
        let mut seeds = 0..SEEDS_FOR_A_BUG;
        match seeds.find_map(|seed| Some((seed, register_world::run(seed, bug).violation?))) {
            Some((seed, violation)) => println!("{}: seed {seed}, {violation}", bug.name),
            None => missed.push(bug.name),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:#?}");
}

#[test]
fn a_seed_is_the_same_world_of_a_store_on_a_register_every_time() {
    for seed in [1, 7, 42] {
        assert_eq!(
            register_world::run(seed, &NONE),
            register_world::run(seed, &NONE)
        );
    }
}
