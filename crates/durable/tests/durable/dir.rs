//! A directory of its own for each test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use durable::{Durable, Options, WriteError};

/// An empty place on the disk that cargo builds on, removed when the test is over. The system's
/// temporary directory may be in memory, where syncing is nothing.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("durable-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn open(&self) -> Durable {
        Durable::open(&self.0, options()).unwrap()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The options of the writer as well, so that tests can open what it left.
pub(crate) fn options() -> Options {
    Options::new("durable-test", 1)
}

pub(crate) async fn put(table: &Durable, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
    let (key, value) = (key.to_vec(), value.to_vec());
    table
        .transact(move |tx| {
            tx.put("rows", &key, &value);
            Ok(())
        })
        .await
}
