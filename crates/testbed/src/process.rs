//! A child process: its log, its signals, its end.

use std::{
    ffi::OsString,
    io::{PipeReader, pipe},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::watch;

pub use rustix::process::Signal;

use crate::{Log, eventually, spawner};

/// What of our own environment a child inherits: settings of the developer's shell must not reach a server under test.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "LLVM_PROFILE_FILE",
];

/// What to start.
pub struct Launch {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
}

impl Launch {
    /// `program`, called `name` in messages.
    pub fn new(name: &str, program: impl Into<PathBuf>) -> Self {
        let (name, program) = (name.to_owned(), program.into());
        Self {
            name,
            program,
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable. Of our own environment a child sees little more than `PATH` and `HOME`.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The child's working directory.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(self) -> Result<Process> {
        let (output, input) = pipe()?;
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input);
        // A group of its own: Ctrl-C in the terminal is for us to pass on.
        command.process_group(0);
        let child = spawner::spawn(command)
            .with_context(|| format!("starting {}", self.program.display()))?;
        Process::watch(self.name, child, output)
    }

    fn command(&self) -> Command {
        let mut command = match spawner::dies_with_us() {
            [wrapper, args @ ..] => {
                let mut command = Command::new(wrapper);
                command.args(args).arg(&self.program);
                command
            }
            [] => Command::new(&self.program),
        };
        command.args(&self.args).env_clear();
        #[expect(
            clippy::disallowed_methods,
            reason = "handed on to a child, read by nobody here"
        )]
        let inherited = INHERITED
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        command
            .envs(inherited)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }
}

/// A running (or ended) child process. Dropping it kills it.
pub struct Process {
    name: String,
    pid: Pid,
    log: Log,
    end: watch::Receiver<Option<ExitStatus>>,
    /// Held while the child is reaped, so that no signal goes to a stranger who got its number.
    reaping: Arc<Mutex<()>>,
    waiter: Mutex<Option<JoinHandle<()>>>,
}

impl Process {
    fn watch(name: String, child: Child, output: PipeReader) -> Result<Self> {
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a child without a number")?;
        let log = Log::new();
        let reader = {
            let log = log.clone();
            thread::spawn(move || log.fill(output))
        };
        let (sender, end) = watch::channel(None);
        let reaping = Arc::new(Mutex::new(()));
        let waiter = {
            let reaping = Arc::clone(&reaping);
            thread::spawn(move || await_end(pid, child, reader, &reaping, &sender))
        };
        Ok(Self {
            name,
            pid,
            log,
            end,
            reaping,
            waiter: Mutex::new(Some(waiter)),
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// What it printed.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How it ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.end.borrow()
    }

    /// Waits until it has ended, and its whole log has been read.
    ///
    /// # Errors
    /// When it cannot be told how it ended.
    pub async fn ended(&self) -> Result<ExitStatus> {
        let mut end = self.end.clone();
        let status = end.wait_for(Option::is_some).await.map(|status| *status);
        status
            .ok()
            .flatten()
            .with_context(|| format!("{}: nobody knows how it ended", self.name))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let _not_reaped_meanwhile = lock(&self.reaping);
        if let Some(status) = self.exit_status() {
            bail!("{} has ended already: {status}", self.name);
        }
        kill_process(self.pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// SIGKILL; returns when it is gone and its ports are free. Killing what has ended is no error.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&self) -> Result<()> {
        if self.exit_status().is_none() {
            let sent = self.signal(Signal::KILL);
            if self.exit_status().is_none() {
                sent?;
            }
        }
        // A second caller finds no waiter: the first one is waiting, or has waited.
        if let Some(waiter) = lock(&self.waiter).take() {
            waiter
                .join()
                .map_err(|_| anyhow!("{}: nobody knows how it ended", self.name))?;
        }
        Ok(())
    }

    /// SIGSTOP: connections stay open and are not answered.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and its exit status.
    ///
    /// # Errors
    /// When it has not ended after `within`; the message ends with its log.
    pub async fn terminate(&self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match tokio::time::timeout(within, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => bail!(
                "{} still runs {within:?} after SIGTERM; its log:\n{}",
                self.name,
                self.log.last(40)
            ),
        }
    }

    /// Asks `check` until it gives a value, as long as the process runs.
    ///
    /// # Errors
    /// When the process ends first, or `within` has passed; the message ends with the log.
    pub async fn ready<T>(
        &self,
        within: Duration,
        check: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let what = format!("waiting for {} to be ready", self.name);
        let outcome = tokio::select! {
            ended = self.ended() => Err(anyhow!("{} ended before it was ready: {}", self.name, ended?)),
            ready = eventually(&what, within, check) => ready,
        };
        outcome.map_err(|error| anyhow!("{error:#}; its log:\n{}", self.log.last(40)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        if thread::panicking() {
            eprintln!(
                "--- the end of the log of {} ---\n{}",
                self.name,
                self.log.last(40)
            );
        }
    }
}

/// Looks without reaping first: until the lock is held, the number still belongs to our child.
fn await_end(
    pid: Pid,
    mut child: Child,
    reader: JoinHandle<()>,
    reaping: &Mutex<()>,
    end: &watch::Sender<Option<ExitStatus>>,
) {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while waitid(WaitId::Pid(pid), look).is_err_and(|error| error == rustix::io::Errno::INTR) {}
    // A grandchild may keep the pipe open after its parent's end; nothing we start has any.
    let _ = reader.join();
    let _no_signal_meanwhile = lock(reaping);
    let status = child.wait();
    end.send_replace(status.ok());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
