//! Measures the Holdfast services beside their baselines: `bench --help`.
//!
//! Every figure is a ratio: both sides run in turn, on the same machine, the same servers, with the same
//! client and as many connections. A machine that others use slows both.

mod client;
mod cost;
mod load;
mod peers;
mod report;
mod rows;
mod stage;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use crate::report::Report;

/// Measures the Holdfast services beside their baselines.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure; everything, when nothing is named.
    #[arg(value_enum)]
    rows: Vec<Row>,
    #[command(flatten)]
    plan: Plan,
    /// Directory for `bench.json` and `bench.svg`; made if it is not there.
    #[arg(long, default_value = ".holdfast/bench")]
    out: PathBuf,
}

/// How long and how often to measure.
#[derive(clap::Args, Clone)]
struct Plan {
    /// Rounds of each side, in turn; the median one counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of a round.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Another server of the tentens-tech/shared-lock wire to measure beside ours, such as
    /// `http://127.0.0.1:9090`. It must work on the etcd of `--etcd`.
    #[arg(long, value_name = "URL", requires = "etcd")]
    peer_url: Vec<String>,
    /// An etcd that is already there; without it one is started, on the disk of the temporary directory.
    #[arg(long, value_name = "URL")]
    etcd: Option<String>,
    /// Directory of the binaries to measure.
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
}

impl Plan {
    fn round(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Serves `/lease` as tentens-tech/shared-lock does, with four etcd calls in a row: the baseline of `lease`.
    #[command(hide = true)]
    FourCalls {
        /// The etcd to work on.
        #[arg(long)]
        etcd: String,
    },
    /// Answers every call with the same bytes: the baseline of `cached-message`.
    #[command(hide = true)]
    Bare {
        /// Bytes of an answer.
        #[arg(long)]
        size: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// `POST /lease` on new keys, beside the four-call lease.
    Lease,
    /// Acquire and release in a session, beside plain one-key etcd transactions.
    Session,
    /// A contended lock going from hand to hand, beside one etcd transaction.
    HandOver,
    /// 10,000 locks held in 100 sessions: what keeping them costs.
    Idle,
    /// `GET /messages/{digest}` from memory, beside a bare handler.
    CachedMessage,
    /// Durable `POST /messages`, beside group commits alone.
    DurableMessage,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match arguments.command {
        Some(Command::FourCalls { etcd }) => {
            actix_web::rt::System::new().block_on(peers::four_calls::serve(etcd))
        }
        Some(Command::Bare { size }) => {
            actix_web::rt::System::new().block_on(peers::bare::serve(size))
        }
        None => runtime
            .context("starting")
            .and_then(|runtime| runtime.block_on(measure(&arguments))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("bench: {err:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let chosen = |row| arguments.rows.is_empty() || arguments.rows.contains(&row);
    let mut report = Report::new(&arguments.plan);
    if chosen(Row::Lease) {
        rows::lease::measure(&arguments.plan, &mut report).await?;
    }
    if chosen(Row::Session) {
        rows::session::measure(&arguments.plan, &mut report).await?;
    }
    if chosen(Row::HandOver) {
        rows::hand_over::measure(&arguments.plan, &mut report).await?;
    }
    if chosen(Row::Idle) {
        rows::idle::measure(&arguments.plan, &mut report).await?;
    }
    if chosen(Row::CachedMessage) {
        rows::message::cached(&arguments.plan, &mut report).await?;
    }
    if chosen(Row::DurableMessage) {
        rows::message::durable(&arguments.plan, &mut report).await?;
    }
    report.write(&arguments.out)
}
