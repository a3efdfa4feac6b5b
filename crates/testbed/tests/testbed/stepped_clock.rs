//! A wall clock that is stepped under a process.

use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use testbed::SteppedClock;

fn ahead(clock: &SteppedClock) -> i64 {
    let mut date = Command::new("date");
    let said = date.arg("+%s").envs(clock.environment()).output().unwrap();
    let told: i64 = String::from_utf8(said.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    told - i64::try_from(now.as_secs()).unwrap()
}

#[test]
fn a_process_goes_by_the_clock_that_it_was_given() {
    let clock = SteppedClock::new().unwrap();
    assert!((-60..=0).contains(&ahead(&clock)));
    clock.set(3_600).unwrap();
    assert!((3_540..=3_600).contains(&ahead(&clock)));
    clock.set(-3_600).unwrap();
    assert!((-3_660..=-3_600).contains(&ahead(&clock)));
}
