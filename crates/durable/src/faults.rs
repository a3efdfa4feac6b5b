//! A disk that fails on demand, for tests of what happens then.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// A switch: while it is on, every sync and every read of the disk fails, as asked.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    failing_syncs: Arc<AtomicBool>,
    failing_reads: Arc<AtomicBool>,
}

impl Faults {
    /// From now on syncs fail. What was written stays visible in the file, as it does in a page
    /// cache whose pages never reached the disk.
    pub fn fail_syncs(&self) {
        self.failing_syncs.store(true, Ordering::SeqCst);
    }

    /// From now on reads of the file fail.
    pub fn fail_reads(&self) {
        self.failing_reads.store(true, Ordering::SeqCst);
    }

    pub(crate) fn backend(&self, file: File) -> Result<FaultyFile, redb::DatabaseError> {
        Ok(FaultyFile {
            file: FileBackend::new(file)?,
            faults: self.clone(),
        })
    }
}

/// A file whose syncs and reads obey a [`Faults`]. It takes no locks: the directory is locked.
#[derive(Debug)]
pub(crate) struct FaultyFile {
    file: FileBackend,
    faults: Faults,
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        fail_if(&self.faults.failing_reads)?;
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        fail_if(&self.faults.failing_syncs)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}

fn fail_if(switch: &AtomicBool) -> io::Result<()> {
    if switch.load(Ordering::SeqCst) {
        return Err(io::Error::other("the disk fails, as it was asked to"));
    }
    Ok(())
}
