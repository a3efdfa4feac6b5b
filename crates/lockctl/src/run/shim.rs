//! What stands between `run` and its command: it makes sure that the command dies with us, then becomes it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::cli::Shim;
use crate::exit::{CANNOT_START, NOT_FOUND, SIGNALLED};

pub(crate) const NAME: &str = "run-command";

/// Becomes the command. It returns, with an exit code, only when it cannot.
pub(crate) fn become_command(shim: &Shim) -> u8 {
    #[cfg(target_os = "linux")]
    if !dies_with(shim.parent) {
        return SIGNALLED + 9;
    }
    let (program, args) = match shim.command.split_first() {
        Some((program, args)) => (program, args),
        None => return CANNOT_START,
    };
    let error = Command::new(program).args(args).exec();
    tell(program, &error);
    match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => CANNOT_START,
    }
}

/// Asks the kernel for SIGKILL when the parent ends; `false` if that is over already.
#[cfg(target_os = "linux")]
fn dies_with(parent: i32) -> bool {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
    // Without it the command is as safe as anywhere else.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    getppid().map_or(0, Pid::as_raw_pid) == parent
}

fn tell(program: &OsString, error: &io::Error) {
    let program = program.to_string_lossy();
    let _ = writeln!(io::stderr(), "lockctl: cannot start `{program}`: {error}");
}
