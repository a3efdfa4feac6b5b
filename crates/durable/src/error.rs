//! What can go wrong. The sentences are for people; the cause is in `source()`, for the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a table could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error("data directory {} is in use by another process{}", dir.display(), named(*.pid))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that has it, when it said so.
        pid: Option<u32>,
    },
    /// The rows have a format that this version does not know.
    #[error("{} holds {what} format {found}, this version knows only {known}", dir.display())]
    Format {
        /// The directory.
        dir: PathBuf,
        /// Whose format it is: the table's own or the application's.
        what: String,
        /// The number found.
        found: u32,
        /// The number known.
        known: u32,
    },
    /// The directory belongs to another application.
    #[error("{} holds the data of {found:?}, not of {wanted:?}", dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Whose data it is.
        found: String,
        /// Who asked.
        wanted: String,
    },
    /// The file system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The file is open, but not even its format can be read.
    #[error("cannot read the format of {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: ReadError,
    },
    /// The file is not as it was written: somebody changed it, or the disk did.
    #[error("{} is damaged: restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What redb found.
        source: Arc<redb::Error>,
    },
    /// redb could not open, check or copy the file.
    #[error("cannot {doing} {}", path.display())]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What redb said.
        source: Arc<redb::Error>,
    },
}

/// Why a row could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// A commit has failed; nothing in this process is to be trusted any more.
    #[error("the store failed to write and needs a restart")]
    Poisoned,
    /// The file could not be read.
    #[error("the store cannot be read")]
    Storage(#[source] Arc<redb::Error>),
}

/// Why a job was not run, or not kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The queue is full; the job did not run. Worth another try.
    #[error("the store has too many writes waiting")]
    Busy,
    /// [`Durable::close`](crate::Durable::close) was called; the job did not run.
    #[error("the store is closed")]
    Closed,
    /// The job panicked; nothing it wrote is kept.
    #[error("the write failed inside")]
    Panicked,
    /// The commit failed, now or earlier. It is not known whether the job's writes survive.
    #[error("the store failed to write and needs a restart")]
    Poisoned,
    /// The job needed a row that could not be read; nothing it wrote is kept.
    #[error("the store cannot be read")]
    Read(#[source] ReadError),
}

/// Why there is no backup, or no table made of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory holds a table already; it is left alone.
    #[error("{} holds a table already", .0.display())]
    Occupied(PathBuf),
    /// It is the backup of something else.
    #[error("this is a backup of {found}, not of {wanted}")]
    Foreign {
        /// Whose rows it holds.
        found: String,
        /// Whose were asked for.
        wanted: String,
    },
    /// It is no whole backup.
    #[error("the backup is damaged: {0}")]
    Damaged(&'static str),
    /// A row was refused by whoever knows what it means.
    #[error("a row is refused: {0}")]
    Refused(String),
    /// The backup itself could not be read or written.
    #[error("the backup cannot be read or written")]
    Io(#[from] io::Error),
    /// The table could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new table could not be made.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl ReadError {
    pub(crate) fn storage(cause: impl Into<redb::Error>) -> Self {
        Self::Storage(Arc::new(cause.into()))
    }
}

impl OpenError {
    /// For `map_err`: what redb refused to do, and to which file.
    pub(crate) fn storage<E: Into<redb::Error>>(
        doing: &'static str,
        path: &Path,
    ) -> impl Fn(E) -> Self {
        move |cause| {
            let (path, source) = (path.to_owned(), Arc::new(cause.into()));
            if is_damage(&source) {
                return Self::Damaged { path, source };
            }
            Self::Storage {
                doing,
                path,
                source,
            }
        }
    }

    /// For `map_err`: why the first rows of a file could not be read.
    pub(crate) fn read(path: &Path) -> impl Fn(ReadError) -> Self {
        move |fault| match (path.to_owned(), fault) {
            (path, ReadError::Storage(source)) if is_damage(&source) => {
                Self::Damaged { path, source }
            }
            (path, source) => Self::Unreadable { path, source },
        }
    }

    /// For `map_err`: what the file system refused to do, and to which file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// Whether the file is at fault, and not what surrounds it.
fn is_damage(cause: &redb::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match cause {
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) => true,
        redb::Error::Io(cause) => matches!(cause.kind(), InvalidData | UnexpectedEof),
        _ => false,
    }
}

fn named(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}
