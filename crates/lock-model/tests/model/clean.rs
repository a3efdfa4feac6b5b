//! The protocol as it is: every reachable state of each quick scenario is seen, nothing is broken.

use lock_model::runs;

fn nothing_is_broken_in(kind: &str) {
    let names = runs::names(runs::QUICK).filter(|name| name.starts_with(kind));
    let mut explored = 0;
    for name in names {
        let report = super::explore(name);
        assert!(report.is_clean(), "{report}");
        explored += 1;
    }
    assert!(explored > 0, "no scenario is called {kind}");
}

#[test]
fn exclusive_locks_keep_their_promises() {
    nothing_is_broken_in("exclusive-");
}

#[test]
fn readers_and_writers_keep_their_promises() {
    nothing_is_broken_in("shared-");
}

#[test]
fn permits_keep_their_promises() {
    nothing_is_broken_in("permit-");
}

#[test]
fn a_lock_that_is_asked_for_in_several_modes_keeps_its_promises() {
    nothing_is_broken_in("mixed-");
}
