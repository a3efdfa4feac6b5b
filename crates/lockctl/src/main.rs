//! Locks of shared-lock-svc in the shell: `lockctl --help`.

mod bench;
mod cli;
mod connect;
mod doctor;
mod exit;
mod hold;
mod look;
mod manual;
mod output;
mod run;
mod session;
mod waiting;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Arguments, Command};
use crate::exit::{Failure, WRONG};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // It becomes another program: no runtime, no threads.
    if let Command::Shim(shim) = &arguments.command {
        return ExitCode::from(run::shim::become_command(shim));
    }
    // One thread starts the command of `run` and lives as long as we do: the command dies with it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(perform(arguments)),
        Err(error) => Err(Failure::new(WRONG, error)),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let _ = writeln!(io::stderr(), "lockctl: {}", failure.why);
            ExitCode::from(failure.code)
        }
    }
}

/// The exit code, or why there is none but a failure's.
async fn perform(arguments: Arguments) -> Result<u8, Failure> {
    let connection = &arguments.connection;
    match &arguments.command {
        Command::Run(run) => run::run(connection, run).await,
        Command::Acquire(acquire) => hold::acquire(connection, acquire).await,
        Command::Keepalive(keepalive) => hold::keepalive(connection, keepalive).await,
        Command::Release(release) => hold::release(connection, release).await,
        Command::Verify(verify) => hold::verify(connection, verify).await,
        Command::Show(show) => look::show(connection, show).await,
        Command::List(list) => look::list(connection, list).await,
        Command::Watch(watch) => look::watch(connection, watch).await,
        Command::ForceRelease(order) => look::force_release(connection, order).await,
        Command::Session(session) => session::session(connection, session).await,
        Command::Doctor(doctor) => doctor::doctor(connection, doctor).await,
        Command::Bench(bench) => bench::bench(connection, bench).await,
        Command::Completion(completion) => manual::completion(completion),
        Command::Man => manual::man(),
        Command::Shim(_) => Ok(0),
    }
}
