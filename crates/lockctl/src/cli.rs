//! The command line, as `--help`, the man page and the completion show it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// What each exit code means: part of `--help`, of the man page, and of what scripts rely on.
const EXIT_CODES: &str = "\
Exit codes:
    0  done; of `run`: the command's own code, or 128 and its signal
    1  anything that has no code of its own; of `verify`: not the current tenure
    2  the command line, or a setting, is wrong
   69  the lock service is away or in trouble
   75  the lock was not acquired: somebody else has it, and the wait is over
   76  the lock was lost; of `run`: the command was stopped
   77  the lock service refuses: it does not know us, or will not let us
  126  the command cannot be started
  127  the command is not found
  130  interrupted while waiting: 128 and the number of the signal
  141  whoever reads our output has gone";

/// Locks of shared-lock-svc: run a command under a lock, look at locks, find out what is wrong.
#[derive(Debug, Parser)]
#[command(name = "lockctl", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the servers are, who we are, and what is printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Connection {
    /// The lock service; several, separated by commas, are on one store.
    #[arg(
        long,
        global = true,
        env = "LOCK_URL",
        value_name = "URL",
        value_delimiter = ','
    )]
    #[arg(default_value = "http://127.0.0.1:8080")]
    pub(crate) url: Vec<String>,
    /// Who we are, as others see it [default: the machine's name and our process id].
    #[arg(long, global = true, env = "LOCK_HOLDER", value_name = "NAME")]
    pub(crate) holder: Option<String>,
    /// The wire: `v1`, or `lease` for a server of tentens-tech/shared-lock (run, acquire, keepalive,
    /// doctor).
    #[arg(long, global = true, env = "LOCK_WIRE", value_enum, default_value_t)]
    pub(crate) wire: Wire,
    /// PEM file of the authorities to trust instead of the system's.
    #[arg(long, global = true, env = "LOCK_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// PEM file of the certificate to show.
    #[arg(long, global = true, env = "LOCK_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, global = true, env = "LOCK_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// File of the bearer token; read anew for each request.
    #[arg(
        long,
        global = true,
        env = "LOCK_BEARER_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub(crate) bearer_token_file: Option<PathBuf>,
    /// How long a server may take to answer.
    #[arg(long, global = true, value_parser = some_time, default_value = "2s", value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// What to print: a table for people, JSON for programs.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Say nothing while waiting.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Wire {
    #[default]
    V1,
    Lease,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Table,
    Json,
    /// Lines for a shell to `eval`, of `acquire` and `session open`.
    Env,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Acquire(Acquire),
    Keepalive(Keepalive),
    Release(Release),
    Verify(Verify),
    Show(Show),
    List(List),
    Watch(Watch),
    ForceRelease(ForceRelease),
    Session(Session),
    Doctor(Doctor),
    Bench(Bench),
    Completion(Completion),
    /// Print the manual pages.
    Man,
    #[command(name = crate::run::shim::NAME, hide = true)]
    Shim(Shim),
}

/// Run a command while holding a lock.
///
/// The command finds LOCK_KEY, LOCK_FENCING_TOKEN, LOCK_TOKEN_EPOCH and LOCK_LEASE_ID in its environment.
/// Signals are passed on to it. When the lock cannot be kept it gets SIGTERM, and SIGKILL before the lock
/// can be somebody else's. The lock is given back when it ends.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) wish: Wish,
    /// How long the command has between SIGTERM and SIGKILL when the lock is being lost, at most half of the
    /// TTL; both come before the lock's validity ends [default: a fifth of the TTL, at most 5s].
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) grace: Option<Duration>,
    /// Exit code when the lock was not acquired.
    #[arg(long, default_value_t = crate::exit::NOT_ACQUIRED, value_name = "CODE")]
    pub(crate) exit_not_acquired: u8,
    /// Exit code when the lock was lost.
    #[arg(long, default_value_t = crate::exit::LOST, value_name = "CODE")]
    pub(crate) exit_lost: u8,
    /// The command, and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// What lock to take, and how.
#[derive(Debug, Args)]
pub(crate) struct Wish {
    /// The lock.
    #[arg(short, long, value_name = "KEY")]
    pub(crate) key: String,
    /// Life of the lease between two renewals: 2s or more.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub(crate) ttl: Duration,
    /// How long to wait for the lock: `0s` does not wait.
    #[arg(short, long, value_parser = duration, default_value = "1m", value_name = "TIME")]
    pub(crate) wait: Duration,
    /// Hold it with other readers.
    #[arg(long, conflicts_with = "permit")]
    pub(crate) shared: bool,
    /// Hold one of so many permits.
    #[arg(long, value_name = "LIMIT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) permit: Option<u32>,
    /// How many permits to hold.
    #[arg(long, requires = "permit", default_value_t = 1)]
    pub(crate) weight: u32,
    /// Something for others to see; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
}

/// Take a lock and leave it: it is yours until its TTL is over, unless `keepalive` renews it.
#[derive(Debug, Args)]
pub(crate) struct Acquire {
    #[command(flatten)]
    pub(crate) wish: Wish,
    /// The session that is to carry the lock, as `session open` named it.
    #[arg(long, env = "LOCK_SESSION_ID", value_name = "ID")]
    pub(crate) session: Option<String>,
}

/// A lock that was taken: what `acquire` printed, or what `run` put into the environment.
#[derive(Debug, Args)]
pub(crate) struct Tenure {
    /// The lock.
    #[arg(short, long, env = "LOCK_KEY", value_name = "KEY")]
    pub(crate) key: String,
    /// Its lease.
    #[arg(short, long, env = "LOCK_LEASE_ID", value_name = "ID")]
    pub(crate) lease: String,
    /// Its fencing token.
    #[arg(short, long, env = "LOCK_FENCING_TOKEN", value_name = "TOKEN")]
    pub(crate) token: u64,
}

/// Renew a lock that was taken, once, or until it is lost or a signal comes.
#[derive(Debug, Args)]
pub(crate) struct Keepalive {
    /// The lock.
    #[arg(short, long, env = "LOCK_KEY", value_name = "KEY")]
    pub(crate) key: String,
    /// Its lease.
    #[arg(short, long, env = "LOCK_LEASE_ID", value_name = "ID")]
    pub(crate) lease: String,
    /// Go on every third of what is left.
    #[arg(long = "loop")]
    pub(crate) go_on: bool,
}

/// Give a lock back. Safe to repeat: it never ends the tenure of somebody else.
#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    pub(crate) tenure: Tenure,
}

/// Ask whether a lock that was taken is still ours: exit code 0 if it is, 1 if not.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) tenure: Tenure,
}

/// Who has a lock, and who waits for it.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The lock.
    pub(crate) key: String,
}

/// Locks that somebody holds or waits for.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// How their keys begin.
    #[arg(default_value = "")]
    pub(crate) prefix: String,
}

/// What happens to locks, as it happens.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The lock, or how the keys begin.
    #[arg(default_value = "")]
    pub(crate) key: String,
    /// Every lock whose key begins with KEY.
    #[arg(long)]
    pub(crate) prefix: bool,
    /// End after so many events.
    #[arg(long, value_name = "COUNT")]
    pub(crate) count: Option<u64>,
}

/// Take a lock from all its holders.
///
/// They find out at their next renewal; until then only the fencing token stops them.
#[derive(Debug, Args)]
pub(crate) struct ForceRelease {
    /// The lock.
    pub(crate) key: String,
    /// Why: for the audit log and for whoever listens.
    #[arg(long)]
    pub(crate) reason: String,
}

/// One lease that carries many locks.
#[derive(Debug, Args)]
pub(crate) struct Session {
    #[command(subcommand)]
    pub(crate) command: SessionCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Open a session and leave it: it lives for its TTL, unless it is renewed.
    Open {
        /// Life of the session between two renewals.
        #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
        ttl: Duration,
    },
    /// Renew a session once.
    Keepalive {
        /// The session.
        #[arg(env = "LOCK_SESSION_ID")]
        id: String,
    },
    /// End a session and give all its locks back. Safe to repeat.
    End {
        /// The session.
        #[arg(env = "LOCK_SESSION_ID")]
        id: String,
    },
}

/// Find out what is wrong between here and the lock service's store, and what to do about it.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The TTL that your programs ask for.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub(crate) ttl: Duration,
}

/// Take and give back locks as fast as the service lets us.
///
/// Each of those at once asks anew as soon as it was answered: a time to acquire is the service's own with
/// `--concurrency 1`, and with more of them mostly that of standing in line for its processor.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// How many at once.
    #[arg(short, long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,
    /// For how long.
    #[arg(long, value_parser = duration, default_value = "5s", value_name = "TIME")]
    pub(crate) duration: Duration,
    /// All of them want one lock.
    #[arg(long)]
    pub(crate) contended: bool,
}

/// Print the completion script of a shell.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// Which shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Becomes the command of `run`, once it is sure to die with its parent.
#[derive(Debug, Args)]
pub(crate) struct Shim {
    /// The process that holds the lock.
    pub(crate) parent: i32,
    /// The command, and its arguments.
    #[arg(required = true, last = true)]
    pub(crate) command: Vec<OsString>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as `500ms`, `10s` or `1m30s`".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(time).map_err(|_| wrong())
}

fn some_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let some = (!time.is_zero()).then_some(time);
    some.ok_or_else(|| "must be longer than nothing".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected `NAME=VALUE`")?;
    Ok((name.to_owned(), value.to_owned()))
}
