//! `just up`: the three services on this machine, with nothing to prepare and nothing left behind.

mod claim;
mod console;
mod layout;
mod proof;
mod stack;
mod stores;

use std::{path::PathBuf, pin::pin, process::ExitCode};

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use claim::Claim;
use console::Console;
use layout::Layout;
use stack::Stack;

/// Runs the three services on this machine until Ctrl-C.
#[derive(Parser)]
struct Options {
    /// What they stand on.
    #[arg(value_enum, default_value_t = Mode::Embedded)]
    mode: Mode,
    /// The first of the ports that are used, one after the other.
    #[arg(long, default_value_t = 8080)]
    first_port: u16,
    /// Where all data are kept, by one run at a time [default: .holdfast/up in the checkout].
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Stores of their own, one node each.
    Embedded,
    /// A real etcd, a real Vault API (OpenBao), and PostgreSQL when one is installed, started here.
    Real,
    /// On nothing: ends the run that has this directory.
    Down,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(options).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<ExitCode> {
    let layout = Layout::new(options.mode, options.first_port, options.dir);
    if options.mode == Mode::Down {
        claim::end(layout.dir()).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let _claim = Claim::take(layout.dir())?;
    layout.check_ports()?;
    let console = Console::new();
    let mut stop = pin!(stop_signal()?);
    let started = async {
        let stack = Stack::start(&layout, console.clone()).await?;
        anyhow::Ok((proof::make_a_hostname(&layout).await?, stack))
    };
    let (proof, stack) = tokio::select! {
        started = started => started?,
        code = &mut stop => return Ok(code),
    };
    console.say(&format!(
        "{}{proof}",
        layout.greeting(stack.postgres().as_deref())
    ));
    let ended = tokio::select! {
        code = &mut stop => Ok(code),
        ended = stack.first_end() => Err(ended?),
    };
    console.say("stopping");
    // Whoever asks twice does not want to wait.
    tokio::select! {
        stopped = stack.stop() => stopped?,
        _ = stop_signal()? => (),
    }
    match ended {
        Ok(code) => Ok(code),
        Err(ended) => bail!("{ended}; the rest was stopped"),
    }
}

/// Ctrl-C, SIGTERM, or the terminal is gone; and how to end then. `just` gets the Ctrl-C as well, and
/// complains of it unless what it runs ends as one that was interrupted.
fn stop_signal() -> Result<impl Future<Output = ExitCode>> {
    const INTERRUPTED: u8 = 130;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => ExitCode::from(INTERRUPTED),
            _ = terminate.recv() => ExitCode::SUCCESS,
            _ = hangup.recv() => ExitCode::SUCCESS,
        }
    })
}
