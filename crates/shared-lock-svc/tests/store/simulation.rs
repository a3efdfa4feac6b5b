//! The state machine in a simulated world, seed by seed.

use crate::sim::{self, BUGS, NONE};

const SEEDS: u64 = 1200;

/// Seeds that a planted bug may hide from.
const SEEDS_FOR_A_BUG: u64 = 500;

#[test]
fn no_seed_breaks_a_promise() {
    let (mut told, mut rings, mut crashes, mut fenced) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let run = sim::run(seed, &NONE, false);
        if let Some(violation) = run.violation {
            panic!(
                "seed {seed}, {violation}\nsee it again: cargo run -p shared-lock-svc --example sim -- {seed}"
            );
        }
        told += run.told;
        rings += run.deadlocks;
        crashes += run.crashes;
        fenced += run.fenced;
    }
    println!(
        "{SEEDS} seeds: {told} grants, {rings} deadlocks, {crashes} crashes, {fenced} late writes refused"
    );
    // A world in which little happens would prove little.
    assert!(told as u64 > SEEDS * 10, "{told}");
    assert!(rings as u64 > SEEDS / 10, "{rings}");
    assert!(crashes as u64 > SEEDS, "{crashes}");
    assert!(fenced as u64 > SEEDS / 20, "{fenced}");
}

#[test]
fn every_planted_bug_is_caught() {
    let missed: Vec<_> = BUGS
        .iter()
        .filter_map(|bug| {
            let caught = (0..SEEDS_FOR_A_BUG)
                .find_map(|seed| Some((seed, sim::run(seed, bug, false).violation?)));
            match caught {
                Some((seed, violation)) => {
                    println!("{}: seed {seed}, {violation}", bug.name);
                    None
                }
                None => Some(bug.name),
            }
        })
        .collect();
    assert!(missed.is_empty(), "not caught: {missed:#?}");
}

#[test]
fn a_seed_is_the_same_world_every_time() {
    for seed in [1, 7, 42] {
        let (once, twice) = (sim::run(seed, &NONE, true), sim::run(seed, &NONE, true));
        assert_eq!(once.trace, twice.trace);
        assert!(once.trace.len() > 300, "{}", once.trace.len());
    }
}
