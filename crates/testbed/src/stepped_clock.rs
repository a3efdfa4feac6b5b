//! A wall clock that is stepped under running processes, and under them alone.

use std::{fs, os::unix::fs::FileExt, process::Command};

use anyhow::{Context, Result, ensure};

use crate::Scratch;

/// The clock that dates. The clocks that count are left as they are.
#[derive(Debug)]
pub struct SteppedClock {
    scratch: Scratch,
    offset: fs::File,
}

impl SteppedClock {
    /// One that agrees with the machine's. It is a library that the process loads, built here with the C compiler that Rust
    /// links with.
    ///
    /// # Errors
    /// When there is no `cc`.
    pub fn new() -> Result<Self> {
        let scratch = Scratch::new("clock")?;
        let source = scratch.path().join("clock.c");
        fs::write(&source, include_str!("stepped_clock.c"))?;
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"])
            .arg(scratch.path().join("clock.so"))
            .arg(source);
        let said = cc.output().context("running cc, the C compiler")?;
        ensure!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
        let clock = Self {
            offset: fs::File::create(scratch.path().join("offset"))?,
            scratch,
        };
        clock.set(0)?;
        Ok(clock)
    }

    /// What a process has to find in its environment to go by this clock.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let at = |name: &str| self.scratch.path().join(name).display().to_string();
        [
            ("LD_PRELOAD", at("clock.so")),
            ("STEPPED_CLOCK", at("offset")),
        ]
    }

    /// Sets it so many seconds ahead of the machine's, or behind it.
    ///
    /// # Errors
    /// When the offset cannot be written.
    pub fn set(&self, seconds: i64) -> Result<()> {
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0)?;
        Ok(())
    }
}
