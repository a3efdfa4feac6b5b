//! Explores the protocol, whole and with mistakes planted into it.

mod clean;
mod planted;
mod spare;
mod words;

use lock_model::{Report, check, runs};

fn explore(name: &str) -> Report {
    match runs::scenario(name) {
        Ok(scenario) => check(&scenario),
        Err(message) => panic!("{message}"),
    }
}
