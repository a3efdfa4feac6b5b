//! How a table is to be opened.

use std::sync::Arc;
use std::time::Duration;

use crate::faults::Faults;

const MIB: usize = 1024 * 1024;

/// How a table is to be opened. `Options::new` has the values that suit a small service.
#[derive(Clone)]
pub struct Options {
    /// Whose rows these are; a directory of another application is refused.
    pub application: &'static str,
    /// The format of the application's rows; another one is refused.
    pub format: u32,
    /// Jobs that may wait; the next one is refused as busy.
    pub max_queue: usize,
    /// Jobs in one commit at most.
    pub max_group_jobs: usize,
    /// Bytes written in one commit at most, but for the last job, which may go over it.
    pub max_group_bytes: usize,
    /// Memory that redb may use to cache pages, in bytes. It is taken only as rows are used.
    pub cache_bytes: usize,
    /// Up to this file size, in bytes, each commit also saves redb's allocator state, so that the
    /// next start after a kill is quick. It costs a second sync, and about a millisecond per GiB.
    pub quick_repair_below: u64,
    /// Whether each start reads the file whole and refuses it when a page is not as it was written.
    /// Without it, damage shows when a row is read, so that rows need a checksum of their own.
    pub check_on_open: bool,
    /// Called on the committing thread after each commit, for metrics.
    pub on_commit: Option<OnCommit>,
    #[doc(hidden)]
    pub faults: Option<Faults>,
}

/// Hears of every commit.
pub type OnCommit = Arc<dyn Fn(&Commit) + Send + Sync>;

/// One finished commit.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    /// Jobs whose answers waited for it.
    pub jobs: usize,
    /// Rows put or deleted.
    pub rows: usize,
    /// Bytes of keys and values written.
    pub bytes: usize,
    /// How long writing and syncing took.
    pub took: Duration,
}

impl Options {
    /// Options for the rows of `application` in `format`.
    #[must_use]
    pub fn new(application: &'static str, format: u32) -> Self {
        Self {
            application,
            format,
            max_queue: 1024,
            max_group_jobs: 512,
            max_group_bytes: 4 * MIB,
            cache_bytes: 64 * MIB,
            quick_repair_below: 1024 * MIB as u64,
            check_on_open: true,
            on_commit: None,
            faults: None,
        }
    }
}
