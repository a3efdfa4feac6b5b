//! The way of changes to the disk.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use durable::{Durable, WriteError};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::error;

use super::rows;
use crate::{
    state::Change,
    store::{StoreError, machine::Journal},
};

/// Writes changes in their order. What comes while one write is being synced makes the next one.
pub(super) struct DiskJournal {
    entries: mpsc::UnboundedSender<Entry>,
    position: AtomicU64,
    settled: watch::Receiver<u64>,
}

struct Entry {
    position: u64,
    changes: Vec<Change>,
    last_token: u64,
}

impl DiskJournal {
    /// How long an answer may wait for the disk.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// Entries in one write at most.
    const GROUP: usize = 1024;

    /// Starts to write to `disk`. It ends when the journal is dropped and everything is written.
    pub(super) fn start(disk: Durable) -> Self {
        let (entries, queue) = mpsc::unbounded_channel();
        let (progress, settled) = watch::channel(0);
        tokio::spawn(write_all(disk, queue, progress));
        Self {
            entries,
            position: AtomicU64::new(0),
            settled,
        }
    }

    /// How far the disk is; it has ended when nothing is written any more.
    pub(super) fn progress(&self) -> watch::Receiver<u64> {
        self.settled.clone()
    }
}

#[async_trait]
impl Journal for DiskJournal {
    fn write(&self, changes: Vec<Change>, last_token: u64) {
        let position = self.position.fetch_add(1, Ordering::SeqCst) + 1;
        // A writer that is gone has failed: whoever waits for this position will hear of it.
        let _ = self.entries.send(Entry {
            position,
            changes,
            last_token,
        });
    }

    fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    async fn settled(&self, position: u64) -> Result<(), StoreError> {
        let mut settled = self.settled.clone();
        let written = timeout(Self::PATIENCE, settled.wait_for(|at| *at >= position));
        match written.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(StoreError::Unavailable(anyhow::anyhow!(
                "the disk has failed"
            ))),
            Err(_) => Err(StoreError::Timeout),
        }
    }
}

/// Ends before its queue does only with an error: then what the store holds in memory may never
/// have reached the disk, so nothing more is answered and the process is to end.
async fn write_all(
    disk: Durable,
    mut queue: mpsc::UnboundedReceiver<Entry>,
    progress: watch::Sender<u64>,
) {
    let mut group = Vec::new();
    while queue.recv_many(&mut group, DiskJournal::GROUP).await > 0 {
        let position = group.last().map_or(0, |entry| entry.position);
        let entries = std::mem::take(&mut group);
        let written = disk.transact(move |tx| {
            for entry in &entries {
                rows::write(tx, &entry.changes, entry.last_token);
            }
            Ok::<_, WriteError>(())
        });
        if let Err(err) = written.await {
            error!("the lock store cannot be written: {err}");
            return;
        }
        progress.send_replace(position);
    }
}
