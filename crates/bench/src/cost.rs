//! What a process has used: its processor time and its memory, as Linux tells them.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use rustix::param::{clock_ticks_per_second, page_size};

/// What a process has used so far.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Processor time, its own and the kernel's for it.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
}

/// What the process has used.
pub(crate) fn of(pid: u32) -> Result<Cost> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("reading what process {pid} has used"))?;
    // The name is in parentheses, and may have any character in it.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let number = |index: usize| -> Result<u64> {
        let field = fields.get(index).context("a field is missing")?;
        Ok(field.parse()?)
    };
    // proc_pid_stat(5): utime and stime are the fields 14 and 15, rss is 24; the name was the second.
    let ticks = number(11)? + number(12)?;
    Ok(Cost {
        cpu: Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64),
        resident: number(21)? * page_size() as u64,
    })
}
