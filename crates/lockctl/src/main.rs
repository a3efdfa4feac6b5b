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
mod signals;
mod waiting;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::cli::{Arguments, Command, Output, Session, SessionCommand};
use crate::exit::{Failure, USAGE, WRONG};
use crate::output::printable;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Told in clap's own words, it would name the command that is hidden.
        Err(error) if error.kind() == ErrorKind::MissingSubcommand => {
            let _ = write!(io::stderr(), "{}", Arguments::command().render_help());
            return ExitCode::from(USAGE);
        }
        Err(error) => error.exit(),
    };
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
            if !failure.why.is_empty() {
                let _ = writeln!(io::stderr(), "lockctl: {}", printable(&failure.why));
            }
            ExitCode::from(failure.code)
        }
    }
}

/// The exit code, or why there is none but a failure's.
async fn perform(arguments: Arguments) -> Result<u8, Failure> {
    let connection = &arguments.connection;
    if connection.output == Output::Env && !is_for_a_shell(&arguments.command) {
        let why = "`--output env` is for `acquire` and `session open`";
        return Err(Failure::new(USAGE, why));
    }
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

/// Whether it has something for a shell to `eval`.
fn is_for_a_shell(command: &Command) -> bool {
    match command {
        Command::Acquire(_) => true,
        Command::Session(Session { command }) => matches!(command, SessionCommand::Open { .. }),
        _ => false,
    }
}
