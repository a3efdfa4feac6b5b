//! Hashing everything that is kept, before somebody asks for it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::digest::Digest;
use crate::messages::{MessageError, Messages};
use crate::store::Found;

/// Messages that are read at once.
const PAGE: usize = 64;

/// A scrub that nobody waits for leaves the disk to others most of the time.
const PAUSE: Duration = Duration::from_millis(20);

/// How far a scrub has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Messages hashed.
    pub checked: u64,
    /// About how many there are.
    pub of: u64,
    /// Messages that do not have their digest.
    pub damaged: u64,
}

impl Messages {
    /// Hashes every message and puts aside those that do not have their digest.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn scrub(
        &self,
        pause: Option<Duration>,
        mut told: impl FnMut(Scrubbed),
    ) -> Result<Scrubbed, MessageError> {
        let store = &self.reader.store;
        let mut so_far = Scrubbed {
            of: store.count().await?,
            ..Scrubbed::default()
        };
        let mut last = None;
        loop {
            let page = store.page(last, PAGE).await?;
            let Some((digest, _)) = page.last() else {
                return Ok(so_far);
            };
            last = Some(*digest);
            let count = page.len() as u64;
            for (digest, found) in page {
                so_far.checked += 1;
                so_far.damaged += u64::from(self.is_damaged(&digest, &found).await);
            }
            self.reader.metrics.scrubbed.inc_by(count);
            told(so_far);
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Scrubs once every `every`, for as long as it is polled.
    pub async fn scrub_forever(self: Arc<Self>, every: Duration) {
        if every.is_zero() {
            return;
        }
        loop {
            tokio::time::sleep(every).await;
            match self.scrub(Some(PAUSE), |_| ()).await {
                Ok(Scrubbed {
                    checked, damaged, ..
                }) => {
                    info!(
                        checked,
                        damaged, "{checked} messages scrubbed, {damaged} damaged"
                    );
                }
                Err(fault) => warn!(error = %fault, "the scrub was given up"),
            }
        }
    }

    async fn is_damaged(&self, digest: &Digest, found: &Found) -> bool {
        match found {
            Found::Message(body, _) if Digest::of(body) == *digest => false,
            Found::Message(..) => {
                self.reader.damaged(digest).await;
                self.reader.cache.changed(digest);
                true
            }
            Found::Damaged => true,
            Found::Deleted { .. } | Found::Absent => false,
        }
    }
}
