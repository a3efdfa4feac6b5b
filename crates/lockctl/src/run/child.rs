//! The command of `run`: a process, and those that it started.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, getpgrp, kill_process, kill_process_group, wait};
use rustix::termios::tcgetpgrp;

use super::shim;
use crate::exit::{CANNOT_START, Failure, SIGNALLED};

/// A command that was started.
pub(crate) struct Child {
    pid: Pid,
    /// It shares our group: the terminal itself sends its signals to both of us.
    foreground: bool,
    ended: Cell<Option<u8>>,
    /// What it had started when it was told to end, and may leave behind.
    told: RefCell<Vec<Process>>,
}

/// A process, and not another that got its number later.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: Pid,
    /// In ticks since the machine started.
    started: u64,
}

impl Child {
    /// Starts a command: in a process group of its own, or, when we are in the foreground of a terminal,
    /// in ours, so that it may use the terminal.
    pub(crate) fn start(
        command: &[OsString],
        environment: &[(&'static str, String)],
    ) -> Result<Self, Failure> {
        let foreground = tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
        let ourselves = std::env::current_exe()?;
        let mut shim = Command::new(ourselves);
        shim.arg(shim::NAME)
            .arg(std::process::id().to_string())
            .arg("--")
            .args(command)
            .envs(environment.iter().map(|(name, value)| (name, value)));
        if !foreground {
            shim.process_group(0);
        }
        let child = shim
            .spawn()
            .map_err(|error| Failure::new(CANNOT_START, error))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::new(CANNOT_START, "a child without a number"))?;
        Ok(Self {
            pid,
            foreground,
            ended: Cell::new(None),
            told: RefCell::default(),
        })
    }

    /// Its exit code, once it has ended. Takes every child that ended, also those of others that were left
    /// to us: as the first process of a container we are who they are left to.
    pub(crate) fn ended(&self) -> Option<u8> {
        while self.ended.get().is_none() {
            let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) else {
                break;
            };
            if pid == self.pid {
                let code = status.exit_status();
                let signal = status.terminating_signal();
                let code = code.or(signal.map(|signal| i32::from(SIGNALLED) + signal));
                let code = code.and_then(|code| u8::try_from(code).ok());
                self.ended.set(code.or(Some(u8::MAX)));
            }
        }
        self.ended.get()
    }

    /// Passes on a signal that came to us.
    pub(crate) fn pass_on(&self, signal: Signal) {
        let both_have_it = matches!(signal, Signal::INT | Signal::QUIT | Signal::WINCH);
        if !(self.foreground && both_have_it) {
            self.send(signal);
        }
    }

    pub(crate) fn terminate(&self) {
        self.send_to_all(Signal::TERM);
        // One that is stopped hears nothing else before.
        self.send_to_all(Signal::CONT);
    }

    pub(crate) fn kill(&self) {
        self.send_to_all(Signal::KILL);
    }

    fn send(&self, signal: Signal) {
        let _ = match self.foreground {
            true => kill_process(self.pid, signal),
            false => kill_process_group(self.pid, signal),
        };
    }

    /// To the command and to everything that it started, whatever group that is in.
    fn send_to_all(&self, signal: Signal) {
        let mut told = self.told.borrow_mut();
        // The chain of parents breaks where one has ended.
        told.retain(|process| Process::with(process.pid).is_some_and(|(now, _)| now == *process));
        for process in descendants(self.pid) {
            if !told.contains(&process) {
                told.push(process);
            }
        }
        if self.ended.get().is_none() || !self.foreground {
            self.send(signal);
        }
        for process in told.iter() {
            let _ = kill_process(process.pid, signal);
        }
    }
}

/// The processes below one, as far as the chain of parents is whole.
fn descendants(root: Pid) -> Vec<Process> {
    let all: Vec<(Process, Pid)> = fs::read_dir("/proc")
        .map(|entries| {
            let names = entries.flatten().map(|entry| entry.file_name());
            let pids = names.filter_map(|name| Pid::from_raw(name.to_str()?.parse().ok()?));
            pids.filter_map(Process::with).collect()
        })
        .unwrap_or_default();
    let mut found: Vec<Process> = Vec::new();
    let mut next = 0;
    let mut parent = root;
    loop {
        let children = all.iter().filter(|(_, its_parent)| *its_parent == parent);
        found.extend(children.map(|(process, _)| *process));
        match found.get(next) {
            Some(process) => parent = process.pid,
            None => return found,
        }
        next += 1;
    }
}

impl Process {
    /// A process that runs, and its parent, from
    /// [`/proc/pid/stat`](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html): `pid (name) state parent …`.
    fn with(pid: Pid) -> Option<(Self, Pid)> {
        const PARENT: usize = 4;
        const STARTED: usize = 22;
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        // The first after the name is the third.
        let mut fields = after_name.split_whitespace();
        let parent = fields.nth(PARENT - 3)?.parse().ok()?;
        let started = fields.nth(STARTED - PARENT - 1)?.parse().ok()?;
        Some((Self { pid, started }, Pid::from_raw(parent)?))
    }
}
