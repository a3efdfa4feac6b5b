//! A whole table in one file: written while the table is in use, checked, and read back.
//!
//! A head (what this is, whose rows, in which format, how many), then the tables with their rows,
//! each piece with its length before it, then the number of rows and a SHA-256 over all of it.

use std::io::{self, Read, Write};
use std::path::Path;

use redb::{Builder, TableDefinition};
use sha2::{Digest, Sha256};
use tracing::info;

use crate::error::{BackupError, OpenError, ReadError};
use crate::keys::Keys;
use crate::options::Options;
use crate::recovery::{self, COPY_CHUNK, META};
use crate::snapshot::{Bytes, Snapshot};
use crate::{Durable, Row};

/// What a backup begins with; the number is that of its layout.
const MAGIC: &[u8] = b"holdfast backup 1\n";

const TABLE: u8 = b'T';
const ROW: u8 = b'R';
const END: u8 = b'E';

/// How far a long piece of work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows done.
    pub rows: u64,
    /// Rows there are.
    pub of: u64,
}

/// What goes through a backup, row by row, on its way out or in.
pub trait Pass {
    /// Looks at a row of `table`, and may put another value in its place.
    ///
    /// # Errors
    ///
    /// The row is not to be had in a backup; the sentence says why.
    fn row(&mut self, table: &str, row: Row) -> Result<Row, String>;

    /// Hears how far it has come.
    fn progress(&mut self, progress: Progress);
}

impl Durable {
    /// Writes every durable row, as all were at one moment, to `out`. Reads and writes go on.
    ///
    /// # Errors
    ///
    /// The table cannot be read, or `out` not be written; what is in `out` is then no backup, and
    /// will not be taken for one.
    pub fn backup(&self, out: &mut dyn Write, pass: &mut dyn Pass) -> Result<u64, BackupError> {
        if self.is_poisoned() {
            return Err(ReadError::Poisoned.into());
        }
        let snapshot = Snapshot::of(&self.shared.opened.database)?;
        let mut tables = snapshot.tables()?;
        tables.retain(|name| name != META);
        let mut of = 0;
        for name in &tables {
            of += snapshot.count(name)?;
        }
        let mut writer = Hashing::new(out);
        writer.head(self.shared.application, self.shared.format, of)?;
        let mut done = 0;
        for name in tables {
            writer.put(&[TABLE])?;
            writer.piece(name.as_bytes())?;
            for row in snapshot.rows(&name, &Keys::all())? {
                let (key, value) = pass.row(&name, row?).map_err(BackupError::Refused)?;
                writer.put(&[ROW])?;
                writer.piece(&key)?;
                writer.piece(&value)?;
                done += 1;
                pass.progress(Progress { rows: done, of });
            }
        }
        writer.put(&[END])?;
        writer.put(&done.to_be_bytes())?;
        writer.finish()?;
        Ok(done)
    }
}

/// Reads a backup to its end and keeps nothing of it.
///
/// # Errors
///
/// It is no backup of these rows, is damaged or cut short, or `pass` refused a row.
pub fn verify(
    input: &mut dyn Read,
    options: &Options,
    pass: &mut dyn Pass,
) -> Result<u64, BackupError> {
    read(input, options, pass, &mut |_, _| Ok(()))
}

/// Makes a table in `dir` of a backup. The table is there only when the whole backup was read and
/// found sound.
///
/// # Errors
///
/// As for [`verify`], and [`BackupError::Occupied`] when `dir` holds a table already.
pub fn restore(
    dir: &Path,
    options: &Options,
    input: &mut dyn Read,
    pass: &mut dyn Pass,
) -> Result<u64, BackupError> {
    recovery::create_dir(dir)?;
    let _lock = recovery::lock(dir)?;
    if recovery::exists(&recovery::table_file(dir))? {
        return Err(BackupError::Occupied(dir.to_owned()));
    }
    let path = recovery::unfinished_file(dir);
    recovery::remove(&path)?;
    let database = Builder::new()
        .set_cache_size(options.cache_bytes)
        .create(&path)
        .map_err(OpenError::storage("create", &path))?;
    let failed = OpenError::storage("write", &path);
    recovery::write_format(&database, options).map_err(&failed)?;
    let mut chunk = Chunk {
        database: &database,
        table: String::new(),
        rows: Vec::new(),
        bytes: 0,
    };
    let rows = read(input, options, pass, &mut |table, row| {
        chunk.take(table, row).map_err(&failed)
    })?;
    chunk.write().map_err(&failed)?;
    database
        .close()
        .map_err(OpenError::storage("close", &path))?;
    recovery::put_in_place(dir)?;
    info!(rows, "restored {rows} rows");
    Ok(rows)
}

/// Rows on their way into one transaction.
struct Chunk<'a> {
    database: &'a redb::Database,
    table: String,
    rows: Vec<Row>,
    bytes: usize,
}

impl Chunk<'_> {
    fn take(&mut self, table: &str, row: Row) -> Result<(), redb::Error> {
        if self.table != table || self.bytes >= COPY_CHUNK {
            self.write()?;
            table.clone_into(&mut self.table);
        }
        self.bytes += row.0.len() + row.1.len();
        self.rows.push(row);
        Ok(())
    }

    fn write(&mut self) -> Result<(), redb::Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let transaction = self.database.begin_write()?;
        {
            let name = TableDefinition::<Bytes, Bytes>::new(&self.table);
            let mut table = transaction.open_table(name)?;
            for (key, value) in self.rows.drain(..) {
                table.insert(key.as_slice(), value.as_slice())?;
            }
        }
        transaction.commit()?;
        self.bytes = 0;
        Ok(())
    }
}

/// Reads a backup and hands each row to `keep`.
fn read(
    input: &mut dyn Read,
    options: &Options,
    pass: &mut dyn Pass,
    keep: &mut dyn FnMut(&str, Row) -> Result<(), OpenError>,
) -> Result<u64, BackupError> {
    let mut reader = Hashing::new(input);
    let of = reader.expect_head(options)?;
    let mut table = None;
    let mut rows = 0;
    loop {
        match (reader.take::<1>()?[0], &table) {
            (TABLE, _) => {
                let name = reader.take_piece()?;
                table = Some(String::from_utf8(name).map_err(|_| damaged("a name is no text"))?);
            }
            (ROW, Some(table)) => {
                let row = (reader.take_piece()?, reader.take_piece()?);
                let row = pass.row(table, row).map_err(BackupError::Refused)?;
                keep(table, row)?;
                rows += 1;
                pass.progress(Progress { rows, of });
            }
            (END, _) => break,
            _ => return Err(damaged("a piece of an unknown kind")),
        }
    }
    if u64::from_be_bytes(reader.take()?) != rows {
        return Err(damaged("rows are missing"));
    }
    let sum = reader.sum.clone().finalize();
    if reader.take::<32>()? != <[u8; 32]>::from(sum) {
        return Err(damaged("its checksum is another"));
    }
    reader.expect_end()?;
    Ok(rows)
}

fn damaged(how: &'static str) -> BackupError {
    BackupError::Damaged(how)
}

/// A stream, and the checksum of what went through it.
struct Hashing<S> {
    stream: S,
    sum: Sha256,
}

impl<S> Hashing<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            sum: Sha256::new(),
        }
    }
}

impl Hashing<&mut dyn Write> {
    fn head(&mut self, application: &str, format: u32, rows: u64) -> io::Result<()> {
        self.put(MAGIC)?;
        self.piece(application.as_bytes())?;
        self.put(&format.to_be_bytes())?;
        self.put(&rows.to_be_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.stream.write_all(bytes)
    }

    fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.put(&length.to_be_bytes())?;
        self.put(bytes)
    }

    fn finish(self) -> io::Result<()> {
        self.stream.write_all(&self.sum.finalize())?;
        self.stream.flush()
    }
}

impl Hashing<&mut dyn Read> {
    /// Returns how many rows the backup says it has.
    fn expect_head(&mut self, options: &Options) -> Result<u64, BackupError> {
        let mut magic = [0; MAGIC.len()];
        if self.fill(&mut magic).is_err() || magic != MAGIC {
            return Err(damaged("it does not begin as a backup does"));
        }
        let application = String::from_utf8_lossy(&self.take_piece()?).into_owned();
        let format = u32::from_be_bytes(self.take()?);
        if application != options.application || format != options.format {
            return Err(BackupError::Foreign {
                found: format!("{application}, format {format}"),
                wanted: format!("{}, format {}", options.application, options.format),
            });
        }
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn expect_end(&mut self) -> Result<(), BackupError> {
        match (&mut self.stream).take(1).read_to_end(&mut Vec::new())? {
            0 => Ok(()),
            _ => Err(damaged("something stands behind its end")),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn take_piece(&mut self) -> Result<Vec<u8>, BackupError> {
        let length = u32::from_be_bytes(self.take()?);
        let mut bytes = Vec::new();
        // Memory grows with what is there, whatever a damaged length says.
        (&mut self.stream)
            .take(length.into())
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 != u64::from(length) {
            return Err(damaged("it is cut short"));
        }
        self.sum.update(&bytes);
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        match self.stream.read_exact(bytes) {
            Err(cut) if cut.kind() == io::ErrorKind::UnexpectedEof => {
                Err(damaged("it is cut short"))
            }
            read => {
                read?;
                self.sum.update(bytes);
                Ok(())
            }
        }
    }
}
