//! What goes wrong with every request at once is told once, and not with each of them.

use std::{
    collections::HashMap,
    fmt::Display,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

/// How long nothing more is said of the same thing.
const QUIET: Duration = Duration::from_secs(60);

static LAST: Mutex<Option<HashMap<&'static str, Told>>> = Mutex::new(None);

struct Told {
    at: Instant,
    unsaid: u64,
}

/// Warns of `what`, a short fixed name, unless it did within the last minute; the next warning says how
/// often it happened meanwhile.
pub fn complain(what: &'static str, why: impl Display) {
    if let Some(unsaid) = to_be_told(what) {
        warn!(fault = what, fault.unsaid = unsaid, "{what}: {why}");
    }
}

/// Forgets a complaint, since what it was about is over; whether there was one.
pub fn settle(what: &'static str) -> bool {
    let mut last = last();
    last.get_or_insert_default().remove(what).is_some()
}

/// How often nothing was said, when something is to be said now.
fn to_be_told(what: &'static str) -> Option<u64> {
    let mut last = last();
    let last = last.get_or_insert_default();
    let unsaid = match last.get_mut(what) {
        Some(told) if told.at.elapsed() < QUIET => {
            told.unsaid += 1;
            return None;
        }
        Some(told) => told.unsaid,
        None => 0,
    };
    let at = Instant::now();
    last.insert(what, Told { at, unsaid: 0 });
    Some(unsaid)
}

fn last() -> MutexGuard<'static, Option<HashMap<&'static str, Told>>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_is_told_once_a_minute_with_how_often_it_happened() {
        assert_eq!(to_be_told("one"), Some(0));
        assert_eq!(to_be_told("another"), Some(0));
        for _ in 0..3 {
            assert_eq!(to_be_told("one"), None);
        }
        let mut guard = last();
        let told = guard.as_mut().unwrap().get_mut("one").unwrap();
        told.at -= QUIET;
        drop(guard);
        assert_eq!(to_be_told("one"), Some(3));
        assert_eq!(to_be_told("one"), None);
        assert!(settle("one"));
        assert!(!settle("one"));
        assert_eq!(to_be_told("one"), Some(0));
    }
}
