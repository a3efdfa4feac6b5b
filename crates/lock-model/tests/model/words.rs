//! Scenarios are found by name or read from words.

use lock_model::{Mode, runs, spec};

#[test]
fn every_name_has_a_scenario() {
    for name in runs::all() {
        assert!(runs::scenario(name).is_ok(), "{name}");
    }
}

#[test]
fn a_name_that_nobody_gave_is_refused() {
    assert_eq!(
        runs::scenario("exclusive-nonsense").unwrap_err(),
        "exclusive-nonsense: no such scenario"
    );
}

#[test]
fn words_make_a_scenario() {
    let scenario = spec::parse("modes=XS2 limit=3 clients=010 sessions unknown=1").unwrap();
    let modes: Vec<Mode> = scenario
        .requests
        .iter()
        .map(|request| request.mode)
        .collect();
    assert_eq!(
        modes,
        [
            Mode::Exclusive,
            Mode::Shared,
            Mode::Permit {
                limit: 3,
                weight: 2
            }
        ]
    );
    assert_eq!(scenario.requests[2].client, 0);
    assert!(scenario.sessions);
    assert_eq!(scenario.faults.unknown, 1);
}

#[test]
fn a_word_that_means_nothing_is_named() {
    assert_eq!(
        spec::parse("modes=XX magic=1").unwrap_err(),
        "magic=1: no such word"
    );
    assert_eq!(
        spec::parse("modes=XX unknown=some").unwrap_err(),
        "unknown=some: a number is wanted"
    );
}

#[test]
fn a_trace_tells_a_shortest_way_in_words() {
    let report = super::explore("planted-no-keepalive");
    let trace = &report.findings[0].trace;
    assert_eq!(trace.len(), 5);
    assert_eq!(
        trace[0],
        "client 0 asks replica 0 for lock 0: request A (exclusive)"
    );
    assert_eq!(trace[4], "replica 0 answers A: acquired");
}
