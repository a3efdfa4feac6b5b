//! One run at a time, and how it is found to be ended.

use std::{
    fs::{File, OpenOptions, TryLockError, create_dir_all},
    io::{Read, Write, stdout},
    path::Path,
    process,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use testbed::eventually;

/// Longer than every part of a run may take to end.
const ENDED: Duration = Duration::from_secs(90);

/// Held by the one run of a directory; the kernel gives it back however that run ends.
pub(crate) struct Claim(File);

impl Claim {
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let mut file = open(dir)?;
        if is_taken(&file)? {
            bail!(
                "it runs already (process {}); `just down` ends it",
                holder(&mut file)?
            );
        }
        file.set_len(0)?;
        write!(file, "{}", process::id())?;
        Ok(Self(file))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A number that means nobody any more must not be found.
        let _ = self.0.set_len(0);
    }
}

/// Ends the run of `dir`, and waits for its end.
pub(crate) async fn end(dir: &Path) -> Result<()> {
    let mut file = open(dir)?;
    if !is_taken(&file)? {
        writeln!(stdout(), "nothing runs")?;
        return Ok(());
    }
    let pid = holder(&mut file)?;
    let pid = Pid::from_raw(pid).context("the run has not told its number yet; try again")?;
    kill_process(pid, Signal::TERM).context("asking it to end")?;
    eventually("the end of the run", ENDED, async || {
        match is_taken(&file) {
            Ok(true) => bail!("process {pid} still runs"),
            other => other.map(drop),
        }
    })
    .await?;
    writeln!(stdout(), "stopped")?;
    Ok(())
}

fn open(dir: &Path) -> Result<File> {
    create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let path = dir.join("run.lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    file.with_context(|| format!("opening {}", path.display()))
}

/// Whether somebody else holds the lock; if not, it is held here from now on.
fn is_taken(file: &File) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn holder(file: &mut File) -> Result<i32> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.trim().parse().unwrap_or(0))
}
