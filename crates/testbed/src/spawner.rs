//! The one thread that starts every child.

use std::{
    io,
    process::{Child, Command},
    sync::{OnceLock, mpsc},
    thread,
};

use anyhow::{Result, anyhow};

struct Job {
    command: Command,
    reply: mpsc::SyncSender<io::Result<Child>>,
}

/// Starts `command` from a thread that lives as long as this process.
///
/// The kernel sends the parent-death signal when the *thread* that started a child ends, not when its process does: a child
/// started from a test's own thread would die with that test, even when others still use it.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    static JOBS: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let jobs = JOBS.get_or_init(start_thread);
    let (reply, answer) = mpsc::sync_channel(1);
    jobs.send(Job { command, reply })
        .map_err(|_| anyhow!("the thread that starts processes is gone"))?;
    Ok(answer.recv()??)
}

/// The command that makes the kernel kill the child when we are gone. Linux has that, in util-linux's `setpriv`; elsewhere
/// only a dropped server ends.
pub(crate) fn dies_with_us() -> &'static [&'static str] {
    static WRAPPER: OnceLock<&[&str]> = OnceLock::new();
    WRAPPER.get_or_init(|| {
        let works = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .output();
        if works.is_ok_and(|output| output.status.success()) {
            &["setpriv", "--pdeathsig", "KILL", "--"]
        } else {
            &[]
        }
    })
}

fn start_thread() -> mpsc::Sender<Job> {
    let (jobs, inbox) = mpsc::channel::<Job>();
    thread::spawn(move || {
        for mut job in inbox {
            // Whoever asked may have been cancelled; its child is then ended here.
            if let Err(mpsc::SendError(Ok(mut orphan))) = job.reply.send(job.command.spawn()) {
                let _ = orphan.kill();
                let _ = orphan.wait();
            }
        }
    });
    jobs
}
