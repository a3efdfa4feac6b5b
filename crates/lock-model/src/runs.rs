//! The scenarios that have names. A line is a name, and the words of [`crate::spec`] for it.

use crate::{scenario::Scenario, spec};

/// Explored to the end by the tests, in seconds; nothing may be broken.
pub const QUICK: &str = include_str!("runs/quick.txt");

/// Minutes each; nothing may be broken.
pub const LARGE: &str = include_str!("runs/large.txt");

/// A mistake each, which must be found.
pub const PLANTED: &str = include_str!("runs/planted.txt");

/// Parts of the protocol that may be left out without breaking anything that is modelled.
pub const SPARE: &str = include_str!("runs/spare.txt");

/// What a client of etcd that knows nothing of the protocol breaks.
pub const STRANGERS: &str = include_str!("runs/strangers.txt");

/// The names in one of the lists above.
pub fn names(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().filter_map(named).map(|(name, _)| name)
}

/// All names.
pub fn all() -> impl Iterator<Item = &'static str> {
    [QUICK, LARGE, PLANTED, SPARE, STRANGERS]
        .into_iter()
        .flat_map(names)
}

/// The scenario called `name`.
///
/// # Errors
///
/// Says that there is none.
pub fn scenario(name: &str) -> Result<Scenario, String> {
    let lines = [QUICK, LARGE, PLANTED, SPARE, STRANGERS]
        .into_iter()
        .flat_map(str::lines);
    let (name, words) = lines
        .filter_map(named)
        .find(|(named, _)| *named == name)
        .ok_or(format!("{name}: no such scenario"))?;
    let mut scenario = spec::parse(words)?;
    scenario.name = format!("{name} ({words})");
    Ok(scenario)
}

fn named(line: &str) -> Option<(&str, &str)> {
    line.split_once(' ')
        .map(|(name, words)| (name, words.trim_start()))
}
