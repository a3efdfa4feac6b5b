//! Opening: the directory's lock, the format, and the copy that follows a failed commit.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, ReadableDatabase, TableDefinition, TableHandle};
use tracing::{debug, info, warn};

use crate::error::OpenError;
use crate::guard::guarded;
use crate::keys::Keys;
use crate::options::Options;
use crate::snapshot::{Bytes, Snapshot};

/// The layout that this crate itself writes: the names below, byte strings in every table.
const LAYOUT: u32 = 1;

/// Where layout, application and format are kept.
pub(crate) const META: &str = "durable.meta";

/// Rows are copied in transactions of about this many bytes.
pub(crate) const COPY_CHUNK: usize = 8 * 1024 * 1024;

/// An open file in a locked directory. The file is closed before the lock goes.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) dir: PathBuf,
    _lock: DirLock,
}

/// Locks the directory, recovers from a failed commit, checks the format, and opens the file.
pub(crate) fn open(dir: &Path, options: &Options) -> Result<Opened, OpenError> {
    create_dir(dir)?;
    let lock = lock(dir)?;
    let opened = guarded(|| Ok::<_, redb::Error>(open_table(dir, options)));
    let database = opened.map_err(OpenError::storage("open", &table_file(dir)))??;
    Ok(Opened {
        database,
        dir: dir.to_owned(),
        _lock: lock,
    })
}

fn open_table(dir: &Path, options: &Options) -> Result<Database, OpenError> {
    let path = table_file(dir);
    // Left over when a first start or a copy was cut short; it was never the table.
    remove(&unfinished_file(dir))?;
    if !exists(&path)? {
        create(dir, options)?;
        remove(&mark_file(dir))?;
    } else if exists(&mark_file(dir))? {
        copy_all(dir, options)?;
    }
    let database = open_file(&path, options)?;
    check_format(&database, dir, options)?;
    Ok(database)
}

pub(crate) fn table_file(dir: &Path) -> PathBuf {
    dir.join("table.redb")
}

/// Leaves the mark that makes the next start copy every row.
///
/// It need not survive a power cut, only this process: with the page cache the lie is gone too.
pub(crate) fn mark_failed(dir: &Path, reason: &str) -> io::Result<()> {
    let mut mark = File::create(mark_file(dir))?;
    // The file says all by being there; a full disk may well have no room for the reason.
    let _ = writeln!(mark, "{reason}");
    let _ = mark.sync_all();
    Ok(())
}

fn mark_file(dir: &Path) -> PathBuf {
    dir.join("commit-failed")
}

pub(crate) fn unfinished_file(dir: &Path) -> PathBuf {
    dir.join("table.redb.new")
}

/// Creates the directory and what is missing above it, for this user alone, and syncs their names.
pub(crate) fn create_dir(dir: &Path) -> Result<(), OpenError> {
    let missing: Vec<_> = dir.ancestors().take_while(|it| !it.is_dir()).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(OpenError::io("create", dir))?;
    for created in missing {
        match created.parent() {
            Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new("."))?,
            Some(parent) => sync_dir(parent)?,
            None => (),
        }
    }
    Ok(())
}

/// The directory is this process's. The kernel gives it back when the process ends.
#[derive(Debug)]
pub(crate) struct DirLock(File);

impl Drop for DirLock {
    fn drop(&mut self) {
        // To close the file is not enough: a child that was forked and does not run its program yet has it open too.
        let _ = self.0.unlock();
    }
}

/// Takes the directory for this process.
pub(crate) fn lock(dir: &Path) -> Result<DirLock, OpenError> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(OpenError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(OpenError::InUse {
                dir: dir.to_owned(),
                pid: holder.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(cause)) => return Err(OpenError::io("lock", &path)(cause)),
    }
    // Only for the other process's message, so a full disk must not keep the table from opening.
    let _ = file.set_len(0);
    let _ = file.rewind();
    let _ = writeln!(file, "{}", std::process::id());
    Ok(DirLock(file))
}

/// Makes an empty table that knows whose it is. It gets its name when it is whole.
fn create(dir: &Path, options: &Options) -> Result<(), OpenError> {
    let path = unfinished_file(dir);
    let doing = "create";
    let database = Builder::new()
        .create(&path)
        .map_err(OpenError::storage(doing, &path))?;
    write_format(&database, options).map_err(OpenError::storage(doing, &path))?;
    database.close().map_err(OpenError::storage(doing, &path))?;
    put_in_place(dir)
}

/// Copies every row into a new file, which then takes the old one's place.
///
/// After a failed sync the kernel may show pages that never reached the disk and that no later
/// sync will write again. Rows in a file that is written and synced anew do reach it.
fn copy_all(dir: &Path, options: &Options) -> Result<(), OpenError> {
    let (from, to) = (table_file(dir), unfinished_file(dir));
    warn!(file = %from.display(), "a commit had failed: copying every row into a new file");
    let old = Builder::new()
        .set_cache_size(options.cache_bytes)
        .set_check_integrity_on_open(true)
        .open(&from)
        .map_err(OpenError::storage("check", &from))?;
    check_format(&old, dir, options)?;
    let new = Builder::new()
        .set_cache_size(options.cache_bytes)
        .create(&to)
        .map_err(OpenError::storage("create", &to))?;
    let rows = copy_tables(&old, &new).map_err(OpenError::storage("copy", &from))?;
    drop(old);
    new.close().map_err(OpenError::storage("close", &to))?;
    put_in_place(dir)?;
    remove(&mark_file(dir))?;
    sync_dir(dir)?;
    info!(rows, "copied {rows} rows into a new file");
    Ok(())
}

fn copy_tables(old: &Database, new: &Database) -> Result<u64, redb::Error> {
    let tables = old.begin_read()?;
    let mut copied = 0;
    for table in tables.list_tables()? {
        let name = table.name();
        let source = tables.open_table(TableDefinition::<Bytes, Bytes>::new(name))?;
        let mut rows = source.range::<&[u8]>(..)?.peekable();
        loop {
            let chunk = new.begin_write()?;
            {
                let mut target = chunk.open_table(TableDefinition::<Bytes, Bytes>::new(name))?;
                let mut bytes = 0;
                while bytes < COPY_CHUNK
                    && let Some(row) = rows.next()
                {
                    let (key, value) = row?;
                    target.insert(key.value(), value.value())?;
                    bytes += key.value().len() + value.value().len();
                    copied += 1;
                }
            }
            chunk.commit()?;
            if rows.peek().is_none() {
                break;
            }
        }
    }
    Ok(copied)
}

/// Syncs the finished file, gives it the table's name, and syncs the name.
pub(crate) fn put_in_place(dir: &Path) -> Result<(), OpenError> {
    let (from, to) = (unfinished_file(dir), table_file(dir));
    let file = File::open(&from).map_err(OpenError::io("open", &from))?;
    file.sync_all().map_err(OpenError::io("sync", &from))?;
    fs::rename(&from, &to).map_err(OpenError::io("rename", &from))?;
    sync_dir(dir)
}

fn open_file(path: &Path, options: &Options) -> Result<Database, OpenError> {
    let shown = path.to_owned();
    let mut builder = Builder::new();
    builder
        .set_cache_size(options.cache_bytes)
        .set_check_integrity_on_open(options.check_on_open)
        .set_repair_callback(move |repair| {
            let percent = (repair.progress() * 100.0).round();
            debug!(file = %shown.display(), "checking every page: {percent} %");
        });
    match &options.faults {
        None => builder.open(path).map_err(OpenError::storage("open", path)),
        Some(faults) => {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .map_err(OpenError::io("open", path))?;
            faults
                .backend(file)
                .and_then(|backend| builder.create_with_backend(backend))
                .map_err(OpenError::storage("open", path))
        }
    }
}

pub(crate) fn write_format(database: &Database, options: &Options) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(TableDefinition::<Bytes, Bytes>::new(META))?;
        let rows: [(&str, &[u8]); 3] = [
            ("layout", &LAYOUT.to_be_bytes()),
            ("application", options.application.as_bytes()),
            ("format", &options.format.to_be_bytes()),
        ];
        for (key, value) in rows {
            meta.insert(key.as_bytes(), value)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Refuses rows that another application, or a later version of this one, has written.
fn check_format(database: &Database, dir: &Path, options: &Options) -> Result<(), OpenError> {
    let rows = Snapshot::of(database)
        .and_then(|snapshot| snapshot.scan(META, &Keys::all(), 16))
        .map_err(OpenError::read(&table_file(dir)))?;
    let value = |key: &str| {
        let row = rows.iter().find(|(it, _)| it == key.as_bytes());
        row.map_or(&[][..], |(_, value)| value)
    };
    // A number that is missing or has another width is none that we know.
    let number = |key| <[u8; 4]>::try_from(value(key)).map_or(0, u32::from_be_bytes);
    let unknown = |what: &str, found, known| OpenError::Format {
        dir: dir.to_owned(),
        what: what.to_owned(),
        found,
        known,
    };
    if number("layout") != LAYOUT {
        return Err(unknown("table", number("layout"), LAYOUT));
    }
    if value("application") != options.application.as_bytes() {
        return Err(OpenError::Foreign {
            dir: dir.to_owned(),
            found: String::from_utf8_lossy(value("application")).into_owned(),
            wanted: options.application.to_owned(),
        });
    }
    if number("format") != options.format {
        return Err(unknown(
            options.application,
            number("format"),
            options.format,
        ));
    }
    Ok(())
}

pub(crate) fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(OpenError::io("look for", path))
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::io("remove", path)(cause))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable.
fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    let file = File::open(dir).map_err(OpenError::io("open", dir))?;
    file.sync_all().map_err(OpenError::io("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::lock;

    #[test]
    fn a_directory_is_given_back_though_a_forked_child_has_its_lock_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let taken = lock(dir.path()).unwrap();
        let forked = taken.0.try_clone().unwrap();
        assert!(lock(dir.path()).is_err());
        drop(taken);
        lock(dir.path()).unwrap();
        drop(forked);
    }
}
