//! The store in a file: every message is hashed on its way out and on its way in.

use std::io::{Read, Write};
use std::path::Path;

use durable::{BackupError, Pass, Progress, Row as Pair};

use super::{EmbeddedStore, MESSAGES};
use crate::digest::Digest;
use crate::store::row::{self, Row};
use crate::store::{Backup, Summary};

/// Reads a backup to its end, hashes every message, and keeps nothing of it.
///
/// # Errors
///
/// As for [`durable::verify`]; also when a message does not have its digest.
pub fn verify(
    input: &mut dyn Read,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, BackupError> {
    let mut rows = Rows::new(false, progress);
    durable::verify(input, &EmbeddedStore::options(), &mut rows)?;
    Ok(rows.summary)
}

/// Makes a store in `dir` of a backup, once all of it was read and every message hashed.
///
/// # Errors
///
/// As for [`durable::restore`]; also when a message does not have its digest.
pub fn restore(
    dir: &Path,
    input: &mut dyn Read,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, BackupError> {
    let mut rows = Rows::new(false, progress);
    durable::restore(dir, &EmbeddedStore::options(), input, &mut rows)?;
    Ok(rows.summary)
}

impl Backup for EmbeddedStore {
    fn backup(
        &self,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Summary, BackupError> {
        let mut rows = Rows::new(true, progress);
        self.table.backup(out, &mut rows)?;
        Ok(rows.summary)
    }
}

/// Looks at every row that goes by.
struct Rows<'a> {
    /// Whether a damaged message goes on as a mark; else it is refused.
    marks: bool,
    summary: Summary,
    told: &'a mut dyn FnMut(Progress),
}

impl<'a> Rows<'a> {
    fn new(marks: bool, told: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            marks,
            summary: Summary::default(),
            told,
        }
    }
}

impl Pass for Rows<'_> {
    fn row(&mut self, table: &str, (key, value): Pair) -> Result<Pair, String> {
        if table != MESSAGES {
            return Ok((key, value));
        }
        let is_sound = match row::read(&value) {
            Row::Body(body, _) => Digest::of(&body).as_bytes() == key.as_slice(),
            Row::Tombstone { .. } => true,
            Row::Damaged => value == row::damaged(),
        };
        let is_marked = value == row::damaged();
        if !is_sound && !self.marks {
            return Err(format!("message {} is damaged", hex::encode(key)));
        }
        if !is_sound || is_marked {
            self.summary.damaged += 1;
            return Ok((key, row::damaged()));
        }
        Ok((key, value))
    }

    fn progress(&mut self, progress: Progress) {
        self.summary.rows = progress.rows;
        (self.told)(progress);
    }
}
