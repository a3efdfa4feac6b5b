//! Lives through one simulated world and prints all that happens in it:
//! `cargo run -p shared-lock-svc --example sim -- SEED [NAME OF A PLANTED BUG]`

#[path = "../tests/store/sim/sim.rs"]
mod sim;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

fn main() -> io::Result<ExitCode> {
    let mut arguments = env::args().skip(1);
    let seed = arguments.next().and_then(|seed| seed.parse().ok());
    let name = arguments.next();
    let bug = match &name {
        None => Some(&sim::NONE),
        Some(name) => sim::BUGS.iter().find(|bug| bug.name == name),
    };
    let (Some(seed), Some(bug)) = (seed, bug) else {
        writeln!(
            io::stderr(),
            "usage: sim SEED [NAME OF A PLANTED BUG]; they are:"
        )?;
        for bug in sim::BUGS {
            writeln!(io::stderr(), "  {}", bug.name)?;
        }
        return Ok(ExitCode::from(2));
    };
    let run = sim::run(seed, bug, true);
    let mut out = io::stdout().lock();
    for line in &run.trace {
        writeln!(out, "{line}")?;
    }
    let (told, crashes, fenced) = (run.told, run.crashes, run.fenced);
    writeln!(
        out,
        "seed {seed}: {told} grants, {crashes} crashes, {fenced} late writes refused"
    )?;
    match run.violation {
        None => Ok(ExitCode::SUCCESS),
        Some(violation) => {
            writeln!(out, "{violation}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}
