//! Where the lines of the audit log go.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
};

use serde::Serialize;
use tracing::{error, info, warn};

use super::AuditTarget;

/// Lines on their way to where they go.
pub(super) struct Sink {
    target: AuditTarget,
    out: Box<dyn Out>,
    pending: Vec<u8>,
    lines: u64,
}

/// A place to write to, that knows how to make it safe.
trait Out: Write + Send {
    fn sync(&self) -> io::Result<()>;
}

impl Out for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Out for io::Stdout {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    pub(super) fn open(target: AuditTarget) -> io::Result<Self> {
        Ok(Self {
            out: Self::out(&target)?,
            target,
            pending: Vec::new(),
            lines: 0,
        })
    }

    fn out(target: &AuditTarget) -> io::Result<Box<dyn Out>> {
        Ok(match target {
            AuditTarget::Stdout => Box::new(io::stdout()),
            AuditTarget::File(path) => {
                Box::new(OpenOptions::new().append(true).create(true).open(path)?)
            }
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Lines that were not written yet.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) fn add(&mut self, line: &impl Serialize) {
        // Writing into memory cannot fail, and neither can texts and numbers be no JSON.
        if serde_json::to_writer(&mut self.pending, line).is_ok() {
            self.pending.push(b'\n');
            self.lines += 1;
        }
    }

    /// Writes what is there. What could not be written stays, down to the byte.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.out.write(&self.pending) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.pending.drain(..written)),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        self.lines = 0;
        self.out.flush()
    }

    pub(super) fn reopen(&mut self) {
        match Self::out(&self.target) {
            Ok(out) => {
                self.out = out;
                info!("the audit log was opened anew");
            }
            Err(err) => {
                warn!("the audit log cannot be opened anew, and goes on where it is: {err}")
            }
        }
    }

    pub(super) fn end(&mut self) {
        if self.lines > 0 {
            error!("{} lines of the audit log are lost", self.lines);
        }
        if let Err(err) = self.out.sync() {
            error!("the audit log may not be safe on its disk: {err}");
        }
    }
}
