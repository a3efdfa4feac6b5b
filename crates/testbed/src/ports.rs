//! Ports that stay free while a server restarts.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, bail};

/// Below the range from which Linux and macOS take the ports of outgoing connections, so that a killed server finds its
/// port free when it comes back.
const FIRST: u16 = 15_000;
const COUNT: u16 = 16_000;

/// A loopback port that nobody listens on, and that this process has not given out before.
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
        if (first..first.saturating_add(count)).all(is_free) {
            return Ok(first);
        }
    }
    bail!(
        "no {count} free ports in a row from {FIRST} to {}",
        FIRST + COUNT
    )
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
