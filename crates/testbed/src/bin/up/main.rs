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
    /// Where all data are kept [default: .holdfast/up in the checkout].
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Stores of their own, one node each.
    Embedded,
    /// A real etcd, a real Vault API (OpenBao), and PostgreSQL when one is installed, started here.
    Real,
    /// Nothing: ends what runs.
    Down,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let layout = Layout::new(options.mode, options.first_port, options.dir);
    if options.mode == Mode::Down {
        return claim::end(layout.dir()).await;
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
        () = &mut stop => return Ok(()),
    };
    console.say(&format!(
        "{}{proof}",
        layout.greeting(stack.postgres().as_deref())
    ));
    let ended = tokio::select! {
        () = &mut stop => None,
        ended = stack.first_end() => Some(ended?),
    };
    console.say("stopping");
    // Whoever asks twice does not want to wait.
    tokio::select! {
        stopped = stack.stop() => stopped?,
        () = stop_signal()? => (),
    }
    match ended {
        Some(ended) => bail!("{ended}; the rest was stopped"),
        None => Ok(()),
    }
}

/// Ctrl-C, SIGTERM, or the terminal is gone.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            _ = hangup.recv() => (),
        }
    })
}
