//! Messages in PostgreSQL: one primary or several, each with its replicas.

mod columns;
mod hear;
mod metrics;
pub mod migrate;
pub mod options;
mod place;
mod rebalance;
mod server;
mod shard;
mod sql;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use durable::Commit;
use futures_util::future::{join_all, try_join_all};
use prometheus::Registry;
use service_kit::health::Readiness;

use crate::digest::Digest;
use crate::message::Message;
use crate::store::postgres::columns::row_of;
use crate::store::postgres::metrics::{Pools, PostgresMetrics};
use crate::store::postgres::options::ShardOptions;
use crate::store::postgres::place::Places;
use crate::store::postgres::shard::Shard;
use crate::store::postgres::write::Leave;
use crate::store::row::Row;
use crate::store::{Found, Heard, MessageStore, Put, Shared, StoreError};
use crate::token::{Token, Written};

/// How PostgreSQL is to be used.
pub struct PostgresOptions {
    /// Where messages are kept.
    pub shards: Vec<ShardOptions>,
    /// Where they may also be while they move from one set of shards to another.
    pub also_read: Vec<ShardOptions>,
    /// Connections to each server, at most, for each of writing and reading.
    pub connections: u32,
    /// How long a server may take for one call.
    pub timeout: Duration,
    /// Who is told of every batch of posts that was committed.
    pub on_commit: Option<OnCommit>,
}

/// Who is told of every batch of posts that was committed.
pub type OnCommit = Arc<dyn Fn(&Commit) + Send + Sync>;

/// A [`MessageStore`] on one or several PostgreSQL primaries.
pub struct PostgresStore {
    places: Places,
    also: Option<Places>,
}

impl PostgresStore {
    /// Makes the pools, and shows in `registry` what they do; connections are opened when they are
    /// needed. To be called on the runtime that lives longest.
    ///
    /// # Errors
    ///
    /// A metric of one of the names is there already.
    pub fn open(options: PostgresOptions, registry: &Registry) -> prometheus::Result<Self> {
        let metrics = PostgresMetrics::register(registry)?;
        let limits = (options.connections, options.timeout);
        let open = |shards: Vec<ShardOptions>| {
            let shards = shards
                .into_iter()
                .map(|it| Shard::open(it, limits, &metrics, options.on_commit.clone()));
            Places::new(shards.collect())
        };
        let store = Self {
            also: (!options.also_read.is_empty()).then(|| open(options.also_read)),
            places: open(options.shards),
        };
        let pools = store.all_shards().flat_map(|shard| shard.pools()).collect();
        Pools::register(pools, registry)?;
        Ok(store)
    }

    /// Those of today, and those that messages move to or from.
    fn all_shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        let also = self.also.iter().flat_map(|also| &also.shards);
        self.places.shards.iter().chain(also)
    }

    /// Where a digest may be besides its place, while messages move.
    fn other_place(&self, digest: &Digest) -> Option<&Shard> {
        let other = self.also.as_ref()?.of(digest);
        (other.name != self.places.of(digest).name).then_some(other)
    }

    async fn row(&self, digest: &Digest, seen: &[Token]) -> Result<Option<Row>, StoreError> {
        let here = self.places.of(digest);
        if let Some(found) = here.get(digest, seen).await? {
            return Ok(Some(found));
        }
        let Some(there) = self.other_place(digest) else {
            return Ok(None);
        };
        if let Some(found) = there.get_from_primary(digest).await? {
            return Ok(Some(row_of(found)));
        }
        // It may have moved from there to here between the two looks.
        Ok(here.get_from_primary(digest).await?.map(row_of))
    }

    /// What the other place knows of a message while messages move: its expiry is kept when it is
    /// the later one, and a tombstone there refuses it here too; then `false`.
    async fn heed_other_place(&self, message: &mut Message) -> Result<bool, StoreError> {
        let Some(there) = self.other_place(&message.digest) else {
            return Ok(true);
        };
        match there.get_from_primary(&message.digest).await?.map(row_of) {
            Some(Row::Tombstone { blocks: true }) => return Ok(false),
            Some(Row::Body(_, expiry)) => message.expiry = message.expiry.max(expiry),
            _ => (),
        }
        Ok(true)
    }
}

#[async_trait]
impl MessageStore for PostgresStore {
    async fn put(&self, messages: Vec<Message>) -> Result<Written<Vec<Put>>, StoreError> {
        let mut puts = vec![Put::Blocked; messages.len()];
        let mut by_shard: BTreeMap<&str, (&Shard, Vec<usize>, Vec<Message>)> = BTreeMap::new();
        for (place, mut message) in messages.into_iter().enumerate() {
            if !self.heed_other_place(&mut message).await? {
                continue;
            }
            let shard = self.places.of(&message.digest);
            let entry = by_shard
                .entry(&shard.name)
                .or_insert_with(|| (shard, Vec::new(), Vec::new()));
            entry.1.push(place);
            entry.2.push(message);
        }
        let written = by_shard
            .into_values()
            .map(|(shard, places, messages)| async move {
                Ok::<_, StoreError>((places, shard.put(messages).await?))
            });
        let mut tokens = Vec::new();
        for (places, written) in try_join_all(written).await? {
            for (place, put) in places.into_iter().zip(written.outcome) {
                puts[place] = put;
            }
            tokens.extend(written.tokens);
        }
        Ok(Written {
            outcome: puts,
            tokens,
        })
    }

    async fn get(&self, digest: &Digest, seen: &[Token]) -> Result<Found, StoreError> {
        Ok(self
            .row(digest, seen)
            .await?
            .map_or(Found::Absent, Found::from))
    }

    async fn delete(&self, digest: &Digest, block: bool) -> Result<Written<bool>, StoreError> {
        let here = self.places.of(digest);
        let Some(there) = self.other_place(digest) else {
            let leave = if block {
                Leave::Block
            } else {
                Leave::WhereItWas
            };
            return here.delete(digest, leave).await;
        };
        // A tombstone here keeps the message out when it is being moved at this moment.
        let was_here = here.get_from_primary(digest).await?.is_some();
        let was_there = there.get_from_primary(digest).await?.is_some();
        let leave = if block { Leave::Block } else { Leave::Always };
        let mut tokens = here.delete(digest, leave).await?.tokens;
        tokens.extend(there.delete(digest, leave).await?.tokens);
        Ok(Written {
            outcome: block || was_here || was_there,
            tokens,
        })
    }

    async fn quarantine(&self, damaged: &Digest) -> Result<(), StoreError> {
        self.places.of(damaged).quarantine(damaged).await?;
        if let Some(other) = self.other_place(damaged) {
            other.quarantine(damaged).await?;
        }
        Ok(())
    }

    async fn expire(&self, limit: usize) -> Result<usize, StoreError> {
        let shards = self.places.shards.iter();
        let removed = try_join_all(shards.map(|shard| shard.expire(limit))).await?;
        // As many as the busiest removed: whoever asks goes on until that is below the limit.
        Ok(removed.into_iter().max().unwrap_or(0))
    }

    async fn page(
        &self,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Found)>, StoreError> {
        let shards = self.places.shards.iter();
        let pages = try_join_all(shards.map(|shard| shard.page(after, limit))).await?;
        let rows: BTreeMap<Digest, _> = pages.into_iter().flatten().collect();
        let rows = rows.into_iter().take(limit);
        Ok(rows
            .map(|(digest, raw)| (digest, row_of(raw).into()))
            .collect())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let counts = self.places.shards.iter().map(|shard| shard.count());
        Ok(try_join_all(counts).await?.into_iter().sum())
    }
}

#[async_trait]
impl Shared for PostgresStore {
    async fn get_nearby(&self, digest: &Digest) -> Option<Found> {
        let here = self.places.of(digest);
        here.get_from_replica(digest).await.map(Found::from)
    }

    async fn hear_forever(&self, heard: &(dyn Fn(Heard) + Send + Sync)) {
        let shards = self.all_shards();
        join_all(shards.map(|shard| hear::hear_forever(shard, heard))).await;
    }
}

#[async_trait]
impl Readiness for PostgresStore {
    fn name(&self) -> &'static str {
        "postgres"
    }

    /// Ready as long as one shard answers: with its primary down a shard still gives back what its
    /// replicas have, and the other shards everything.
    async fn check(&self) -> Result<(), String> {
        let shards = &self.places.shards;
        let versions = join_all(shards.iter().map(|shard| shard.version())).await;
        for (shard, version) in shards.iter().zip(&versions) {
            if let Ok(version) = version
                && *version < migrate::NEEDED
            {
                let (name, needed) = (&shard.name, migrate::NEEDED);
                return Err(format!(
                    "shard {name} has schema version {version}, {needed} is needed: run `message-hash-svc migrate`"
                ));
            }
        }
        let faults: Vec<String> = shards
            .iter()
            .zip(versions)
            .filter_map(|(shard, version)| Some((shard, version.err()?)))
            .map(|(shard, fault)| format!("shard {}: {fault}", shard.name))
            .collect();
        if faults.len() == shards.len() && shards.iter().all(|shard| !shard.has_replicas()) {
            return Err(faults.join("; "));
        }
        Ok(())
    }
}
