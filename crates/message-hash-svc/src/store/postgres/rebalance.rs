//! Moving messages to the shards that they live on now, while the service works.

use std::collections::BTreeMap;

use anyhow::ensure;
use durable::Progress;

use crate::digest::Digest;
use crate::store::postgres::PostgresStore;
use crate::store::postgres::columns::{Raw, is_sound};

/// Rows that are moved at once.
const PAGE: usize = 128;

impl PostgresStore {
    /// Copies every row that lives elsewhere now, reads it back, and then removes it where it was.
    /// Running it again is harmless; it tells how many were moved.
    ///
    /// # Errors
    ///
    /// A server failed, or a row did not arrive as it was: then nothing of its page was removed.
    pub async fn rebalance(&self, told: &mut dyn FnMut(Progress)) -> anyhow::Result<u64> {
        let Some(old) = &self.also else {
            return Ok(0);
        };
        let (mut moved, mut rows, mut of) = (0, 0, 0);
        for shard in &old.shards {
            of += shard.count().await?;
        }
        for shard in &old.shards {
            let mut after = None;
            loop {
                let page = shard.page(after, PAGE).await?;
                let Some((last, _)) = page.last() else {
                    break;
                };
                after = Some(*last);
                rows += page.len() as u64;
                let leaving: Vec<(Digest, Raw)> = page
                    .into_iter()
                    .filter(|(digest, _)| self.places.of(digest).name != shard.name)
                    .collect();
                self.settle_in(&leaving).await?;
                moved += leaving.len() as u64;
                for (digest, row) in leaving {
                    shard.remove(digest, row).await?;
                }
                told(Progress { rows, of });
            }
        }
        Ok(moved)
    }

    /// Puts rows where they live now, and looks whether they are there.
    async fn settle_in(&self, leaving: &[(Digest, Raw)]) -> anyhow::Result<()> {
        let mut by_shard: BTreeMap<&str, Vec<(Digest, Raw)>> = BTreeMap::new();
        for (digest, row) in leaving {
            let name = self.places.of(digest).name.as_str();
            by_shard
                .entry(name)
                .or_default()
                .push((*digest, row.clone()));
        }
        for rows in by_shard.into_values() {
            let shard = self.places.of(&rows[0].0);
            shard.take_in(rows).await?;
        }
        for (digest, (codec, body, _)) in leaving {
            let there = self.places.of(digest).get_from_primary(digest).await?;
            let Some((codec_there, body_there, _)) = there else {
                anyhow::bail!("message {digest} did not arrive");
            };
            // One that was posted or deleted there meanwhile is another row, and counts.
            let is_same = (codec_there, &body_there) == (*codec, body);
            let is_its_own = is_sound(digest, codec_there, &body_there);
            ensure!(is_same || is_its_own, "message {digest} arrived damaged");
        }
        Ok(())
    }
}
