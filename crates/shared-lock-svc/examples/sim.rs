//! Lives through simulated worlds, a seed each:
//! `cargo run --release -p shared-lock-svc --example sim -- SEED [NAME OF A PLANTED BUG]` prints all
//! that happens in one of them, and `-- FIRST..END [NAME]` lives through many and prints the first
//! violation. `-- register …` lives in the worlds of the stores on a register instead.

#[expect(clippy::unwrap_used, reason = "a world that cannot go on has failed")]
#[path = "../tests/store/register_world/world.rs"]
mod register_world;
#[path = "../tests/store/sim/sim.rs"]
mod sim;

use std::{
    env,
    io::{self, Write},
    ops::Range,
    process::ExitCode,
};

use self::sim::{Bugs, Run};

fn main() -> io::Result<ExitCode> {
    let mut arguments = env::args().skip(1).peekable();
    let on_register = arguments.next_if(|word| word == "register").is_some();
    let seeds = arguments.next().and_then(|seeds| seeds_of(&seeds));
    let name = arguments.next();
    let lived = match (seeds, on_register) {
        (None, _) => None,
        (Some(seeds), false) => match named(&name, &sim::NONE, sim::BUGS, |bug| bug.name) {
            Some(bug) => Some(live(seeds, bug)?),
            None => None,
        },
        (Some(seeds), true) => {
            let (none, bugs) = (&register_world::NONE, register_world::BUGS);
            match named(&name, none, bugs, |bug| bug.name) {
                Some(bug) => Some(live_on_register(seeds, bug)?),
                None => None,
            }
        }
    };
    let Some(violation) = lived else {
        usage()?;
        return Ok(ExitCode::from(2));
    };
    match violation {
        None => Ok(ExitCode::SUCCESS),
        Some(violation) => {
            writeln!(io::stdout(), "{violation}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What is wrong with the worlds: nothing, where no name is given.
fn named<'a, B>(
    name: &Option<String>,
    none: &'a B,
    bugs: &'a [B],
    name_of: impl Fn(&B) -> &str,
) -> Option<&'a B> {
    match name {
        None => Some(none),
        Some(name) => bugs.iter().find(|bug| name_of(bug) == name),
    }
}

fn usage() -> io::Result<()> {
    let mut err = io::stderr();
    writeln!(
        err,
        "usage: sim SEED|FIRST..END [NAME OF A PLANTED BUG]; they are:"
    )?;
    for bug in sim::BUGS {
        writeln!(err, "  {}", bug.name)?;
    }
    writeln!(err, "   or: sim register SEED|FIRST..END [NAME]; they are:")?;
    for bug in register_world::BUGS {
        writeln!(err, "  {}", bug.name)?;
    }
    Ok(())
}

fn seeds_of(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((first, end)) => Some(first.parse().ok()?..end.parse().ok()?),
        None => {
            let seed = text.parse().ok()?;
            Some(seed..seed + 1)
        }
    }
}

/// Lives through all of them, up to the first violation; of a single one everything is told.
fn live(seeds: Range<u64>, bug: &Bugs) -> io::Result<Option<String>> {
    let is_one = seeds.end - seeds.start == 1;
    let mut all = Run::default();
    let mut worlds = 0;
    let mut out = io::stdout().lock();
    for seed in seeds {
        let run = sim::run(seed, bug, is_one);
        for line in &run.trace {
            writeln!(out, "{line}")?;
        }
        worlds += 1;
        all.told += run.told;
        all.deadlocks += run.deadlocks;
        all.crashes += run.crashes;
        all.fenced += run.fenced;
        if let Some(violation) = run.violation {
            all.violation = Some(format!("seed {seed}, {violation}"));
            break;
        }
    }
    let (told, rings, crashes, fenced) = (all.told, all.deadlocks, all.crashes, all.fenced);
    writeln!(
        out,
        "{worlds} seeds: {told} grants, {rings} deadlocks, {crashes} crashes, {fenced} late writes refused"
    )?;
    Ok(all.violation)
}

/// The same in the worlds of the stores on a register.
fn live_on_register(
    seeds: Range<u64>,
    bug: &'static register_world::Bug,
) -> io::Result<Option<String>> {
    let (mut worlds, mut told, mut lost, mut crashes) = (0, 0, 0, 0);
    let mut violation = None;
    for seed in seeds {
        let run = register_world::run(seed, bug);
        worlds += 1;
        told += run.told;
        lost += run.lost;
        crashes += run.crashes;
        if let Some(what) = run.violation {
            violation = Some(format!("seed {seed}: {what}"));
            break;
        }
    }
    writeln!(
        io::stdout(),
        "{worlds} seeds: {told} grants, {lost} lost answers, {crashes} crashes"
    )?;
    Ok(violation)
}
