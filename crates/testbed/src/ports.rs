//! Ports that stay free while a server restarts.

use std::{
    env,
    fs::{self, File, TryLockError},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::PathBuf,
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

/// Below the range from which Linux and macOS take the ports of outgoing connections, so that a killed server finds its
/// port free when it comes back.
const FIRST: u16 = 15_000;
const COUNT: u16 = 16_000;

/// A loopback port that nobody listens on, and that no running process of this user was given by this function: the port
/// of a killed server stays its own until it comes back.
///
/// # Errors
/// When every port of the range is taken.
pub fn free_port() -> Result<u16> {
    free_ports(1)
}

/// The first of `count` such ports, one after the other.
///
/// # Errors
/// When there are no so many in a row.
pub fn free_ports(count: u16) -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test binaries that run at once begin at different places.
    let start = process::id().wrapping_mul(1_009);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
        let offset = start.wrapping_add(step) % u32::from(COUNT);
        let first = FIRST + u16::try_from(offset)?;
        if take(first..first.saturating_add(count))? {
            return Ok(first);
        }
    }
    bail!(
        "no {count} free ports in a row from {FIRST} to {}",
        FIRST + COUNT
    )
}

/// Takes all of the ports for as long as this process runs, or none.
fn take(ports: Range<u16>) -> Result<bool> {
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let mut claims = Vec::new();
    for port in ports {
        match claim(port)? {
            Some(claim) if is_free(port) => claims.push(claim),
            _ => return Ok(false),
        }
    }
    TAKEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .append(&mut claims);
    Ok(true)
}

/// A locked file that stands for the port; nothing when another process has it, or this one.
fn claim(port: u16) -> Result<Option<File>> {
    let path = claims()?.join(port.to_string());
    let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// One directory for all checkouts: they share the machine's ports.
fn claims() -> Result<PathBuf> {
    let dir = env::temp_dir().join(format!("holdfast-ports-{}", geteuid().as_raw()));
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{claim, free_port};

    #[test]
    fn a_port_that_was_given_out_is_nobody_elses_while_its_process_runs() {
        assert!(claim(free_port().unwrap()).unwrap().is_none());
    }
}
