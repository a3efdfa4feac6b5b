//! A disk that fails on demand, for tests of what happens then.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// A switch beside the disk of one open table.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    syncs_fail: bool,
    reads_fail: bool,
    is_off: bool,
    /// What was written since the last sync, in order: where, what was there, what is there now.
    unsynced: Vec<(u64, Vec<u8>, Vec<u8>)>,
    file: Option<Arc<FileBackend>>,
}

impl Faults {
    /// From now on syncs fail. What was written stays visible in the file, as it does in a page
    /// cache whose pages never reached the disk.
    pub fn fail_syncs(&self) {
        self.disk().syncs_fail = true;
    }

    /// From now on reads of the file fail.
    pub fn fail_reads(&self) {
        self.disk().reads_fail = true;
    }

    /// Cuts the power: of the writes since the last sync some reached the disk and some did not,
    /// chosen by `seed`; nothing works any more.
    ///
    /// # Errors
    ///
    /// When the file cannot be brought into that state.
    pub fn cut_power(&self, seed: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.is_off = true;
        let Some(file) = disk.file.clone() else {
            return Ok(());
        };
        for (offset, before, _) in disk.unsynced.iter().rev() {
            file.write(*offset, before)?;
        }
        for (number, (offset, _, after)) in (0u64..).zip(&disk.unsynced) {
            if is_heads(seed, number) {
                file.write(*offset, after)?;
            }
        }
        file.sync_data()
    }

    pub(crate) fn backend(&self, file: File) -> Result<FaultyFile, redb::DatabaseError> {
        let file = Arc::new(FileBackend::new(file)?);
        self.disk().file = Some(Arc::clone(&file));
        Ok(FaultyFile {
            file,
            faults: self.clone(),
        })
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that obeys a [`Faults`]. It takes no locks: the directory is locked.
#[derive(Debug)]
pub(crate) struct FaultyFile {
    file: Arc<FileBackend>,
    faults: Faults,
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        fail_if(self.faults.disk().reads_fail)?;
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fail_if(self.faults.disk().is_off)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.faults.disk();
        fail_if(disk.is_off || disk.syncs_fail)?;
        disk.unsynced.clear();
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.faults.disk();
        fail_if(disk.is_off)?;
        let mut before = vec![0; data.len()];
        self.file.read(offset, &mut before)?;
        disk.unsynced.push((offset, before, data.to_vec()));
        self.file.write(offset, data)
    }
}

fn fail_if(broken: bool) -> io::Result<()> {
    if broken {
        return Err(io::Error::other("the disk fails, as it was asked to"));
    }
    Ok(())
}

/// One bit of splitmix64.
fn is_heads(seed: u64, number: u64) -> bool {
    let mut bits = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)) & 1 == 1
}
