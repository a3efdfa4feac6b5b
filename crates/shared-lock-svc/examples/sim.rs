//! Lives through simulated worlds, a seed each:
//! `cargo run --release -p shared-lock-svc --example sim -- SEED [NAME OF A PLANTED BUG]` prints all
//! that happens in one of them, and `-- FIRST..END [NAME]` lives through many and prints the first
//! violation.

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
    let mut arguments = env::args().skip(1);
    let seeds = arguments.next().and_then(|seeds| seeds_of(&seeds));
    let name = arguments.next();
    let bug = match &name {
        None => Some(&sim::NONE),
        Some(name) => sim::BUGS.iter().find(|bug| bug.name == name),
    };
    let (Some(seeds), Some(bug)) = (seeds, bug) else {
        writeln!(
            io::stderr(),
            "usage: sim SEED|FIRST..END [NAME OF A PLANTED BUG]; they are:"
        )?;
        for bug in sim::BUGS {
            writeln!(io::stderr(), "  {}", bug.name)?;
        }
        return Ok(ExitCode::from(2));
    };
    let violation = live(seeds, bug)?;
    match violation {
        None => Ok(ExitCode::SUCCESS),
        Some(violation) => {
            writeln!(io::stdout(), "{violation}")?;
            Ok(ExitCode::FAILURE)
        }
    }
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
