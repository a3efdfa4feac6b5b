//! One shard: a primary and its replicas, and who is asked what.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Semaphore;

use crate::digest::Digest;
use crate::message::{Expiry, Message, Moment};
use crate::store::postgres::OnCommit;
use crate::store::postgres::columns::{Columns, Raw, is_sound, millis, row_of};
use crate::store::postgres::metrics::PostgresMetrics;
use crate::store::postgres::options::ShardOptions;
use crate::store::postgres::server::Server;
use crate::store::postgres::sql;
use crate::store::postgres::write::{self, Leave, Place, Writer};
use crate::store::row::{self, Row};
use crate::store::{Put, StoreError};
use crate::token::{Token, Written};

/// Look-ups that a replica could not answer, at the primary at once, and waiting for that: a flood of
/// digests that name nothing must not keep writes from it.
const MISSES: usize = 8;
const MISSES_WAITING: usize = 256;

/// How long a message that was deleted here is looked up at the primary alone: a replica may lag.
const DELETED_FOR: Duration = Duration::from_secs(60);
const DELETED_MOST: usize = 100_000;

/// A primary and its replicas.
pub(super) struct Shard {
    pub(super) name: String,
    pub(super) weight: f64,
    address: PgConnectOptions,
    /// Writes, and what the administrator does.
    primary: Arc<Server>,
    writer: Writer,
    /// Look-ups at the primary: they have connections of their own.
    authority: Arc<Server>,
    replicas: Vec<Arc<Server>>,
    next_replica: AtomicUsize,
    deleted: Mutex<HashMap<Digest, Instant>>,
    misses: Semaphore,
    misses_waiting: Semaphore,
    replica_misses: IntCounter,
}

impl Shard {
    /// Makes the pools of a shard, each of up to some connections, whose calls may take some time.
    pub(super) fn open(
        options: ShardOptions,
        limits: (u32, Duration),
        metrics: &PostgresMetrics,
        on_commit: Option<OnCommit>,
    ) -> Arc<Self> {
        let server = |pool: String, of| {
            let calls = metrics.calls(&options.name, &pool);
            Arc::new(Server::new(pool, calls, of, limits))
        };
        let primary = server("primary".to_owned(), options.primary.clone());
        let authority = server("primary-lookups".to_owned(), options.primary.clone());
        let replicas = options.replicas.iter().cloned().enumerate();
        let replicas: Vec<_> = replicas
            .map(|(place, of)| server(format!("replica-{}", place + 1), of))
            .collect();
        let place = Place {
            primary: Arc::clone(&primary),
            shard: options.name.clone(),
            has_replicas: !replicas.is_empty(),
            on_commit,
        };
        let writer = Writer::start(place);
        let replica_misses = metrics.replica_misses(&options.name);
        Arc::new(Self {
            name: options.name,
            weight: options.weight,
            address: options.primary,
            primary,
            writer,
            authority,
            replicas,
            next_replica: AtomicUsize::new(0),
            deleted: Mutex::default(),
            misses: Semaphore::new(MISSES),
            misses_waiting: Semaphore::new(MISSES_WAITING),
            replica_misses,
        })
    }

    /// Writes messages in a batch with those of other callers.
    pub(super) async fn put(
        &self,
        messages: Vec<Message>,
    ) -> Result<Written<Vec<Put>>, StoreError> {
        self.writer.put(messages).await
    }

    /// What is known of a digest. A message that a replica has is right, since bodies never change.
    /// What it has not, or has as deleted or expired, may be otherwise at the primary, which alone
    /// says so; a body that a replica's disk has damaged, too.
    ///
    /// To a caller who has seen a place of this shard's log, a replica that has come as far says all,
    /// and one that has not says nothing.
    pub(super) async fn get(
        &self,
        digest: &Digest,
        seen: &[Token],
    ) -> Result<Option<Row>, StoreError> {
        if let Some(seen) = seen.iter().find(|token| token.shard == self.name) {
            if let Some(replica) = self.replica()
                && replica.has_replayed(seen).await
                && let Ok(found) = look_up(replica, digest).await
            {
                return Ok(found.map(row_of));
            }
            return Ok(self.get_from_primary(digest).await?.map(row_of));
        }
        if let Some(found) = self.get_from_replica(digest).await {
            return Ok(Some(found));
        }
        if self.has_replicas() {
            self.replica_misses.inc();
        }
        Ok(self.get_from_primary(digest).await?.map(row_of))
    }

    /// The message, if the replica whose turn it is has it and is right about it.
    pub(super) async fn get_from_replica(&self, digest: &Digest) -> Option<Row> {
        if self.was_deleted_here(digest) {
            return None;
        }
        let found = look_up(self.replica()?, digest).await.ok().flatten()?;
        match row_of(found) {
            Row::Body(body, expiry) if !expiry.has_passed() && Digest::of(&body) == *digest => {
                Some(Row::Body(body, expiry))
            }
            _ => None,
        }
    }

    pub(super) async fn get_from_primary(
        &self,
        digest: &Digest,
    ) -> Result<Option<Raw>, StoreError> {
        let _waiting = self
            .misses_waiting
            .try_acquire()
            .map_err(|_| StoreError::Busy)?;
        let _turn = self.misses.acquire().await.map_err(|_| StoreError::Busy)?;
        look_up(&self.authority, digest).await
    }

    /// Leaves a tombstone; `false` when there was nothing to delete and nothing is left.
    pub(super) async fn delete(
        &self,
        digest: &Digest,
        leave: Leave,
    ) -> Result<Written<bool>, StoreError> {
        let key = *digest;
        let deleted = self
            .primary
            .call(move |pool| write::delete(pool, key, leave))
            .await;
        self.remember_deleted(key);
        Ok(Written {
            outcome: deleted?,
            tokens: self.writer.token().await.into_iter().collect(),
        })
    }

    pub(super) async fn quarantine(&self, digest: &Digest) -> Result<(), StoreError> {
        let key = *digest;
        let Some((codec, body, _)) = self.get_from_primary(digest).await? else {
            return Ok(());
        };
        if is_sound(&key, codec, &body) || codec > i16::from(row::ZSTD) {
            return Ok(());
        }
        let mark = move |pool: PgPool| {
            let body = body.clone();
            async move {
                sqlx::query(sql::of(&sql::QUARANTINE, &key))
                    .bind(key.as_bytes().as_slice())
                    .bind(codec)
                    .bind(body)
                    .execute(&pool)
                    .await
            }
        };
        self.primary.call(mark).await?;
        Ok(())
    }

    pub(super) async fn expire(&self, limit: usize) -> Result<usize, StoreError> {
        let now = millis(Expiry::At(Moment::now()));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let expire = move |pool: PgPool| async move {
            sqlx::query(sql::EXPIRE)
                .bind(now)
                .bind(limit)
                .execute(&pool)
                .await
        };
        let done = self.primary.call(expire).await?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    pub(super) async fn page(
        &self,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Raw)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let after = after.map_or_else(Vec::new, |digest| digest.as_bytes().to_vec());
        let page = move |pool: PgPool| {
            let after = after.clone();
            async move {
                sqlx::query_as::<_, (Vec<u8>, i16, Vec<u8>, Option<i64>)>(sql::PAGE)
                    .bind(after)
                    .bind(limit)
                    .fetch_all(&pool)
                    .await
            }
        };
        let rows = self.primary.call(page).await?;
        let rows = rows
            .into_iter()
            .filter_map(|(digest, codec, body, expiry)| {
                Some((Digest::from_bytes(&digest)?, (codec, body, expiry)))
            });
        Ok(rows.collect())
    }

    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        let count = |pool: PgPool| async move {
            sqlx::query_as::<_, (i64,)>(sql::COUNT)
                .fetch_one(&pool)
                .await
        };
        let (count,) = self.primary.call(count).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Puts rows as they lie on another shard; those that are there already stay.
    pub(super) async fn take_in(&self, rows: Vec<(Digest, Raw)>) -> Result<(), StoreError> {
        let columns = Columns::of(
            rows.iter()
                .map(|(digest, (codec, body, expiry))| (*digest, *codec, body.clone(), *expiry)),
        );
        self.primary
            .call(move |pool| write::insert(pool, columns.clone()))
            .await?;
        Ok(())
    }

    /// Removes a row that lives elsewhere now, if it is still the one that was moved.
    pub(super) async fn remove(&self, digest: Digest, row: Raw) -> Result<(), StoreError> {
        let remove = move |pool: PgPool| {
            let (codec, body, expiry) = row.clone();
            async move {
                sqlx::query(sql::of(&sql::REMOVE, &digest))
                    .bind(digest.as_bytes().as_slice())
                    .bind(codec)
                    .bind(body)
                    .bind(expiry)
                    .execute(&pool)
                    .await
            }
        };
        self.primary.call(remove).await?;
        Ok(())
    }

    /// The version of the schema.
    pub(super) async fn version(&self) -> Result<i64, StoreError> {
        let version = |pool: PgPool| async move {
            super::migrate::version(&mut *pool.acquire().await?).await
        };
        self.authority.call(version).await
    }

    /// All pools, with the name of the shard.
    pub(super) fn pools(&self) -> impl Iterator<Item = (String, Arc<Server>)> {
        let at_primary = [&self.primary, &self.authority];
        let all = at_primary.into_iter().chain(&self.replicas);
        all.map(|server| (self.name.clone(), Arc::clone(server)))
    }

    /// Where the primary is.
    pub(super) fn address(&self) -> PgConnectOptions {
        self.address.clone()
    }

    pub(super) fn has_replicas(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// The replicas take turns.
    fn replica(&self) -> Option<&Arc<Server>> {
        if self.replicas.is_empty() {
            return None;
        }
        let turn = self.next_replica.fetch_add(1, Ordering::Relaxed);
        self.replicas.get(turn % self.replicas.len())
    }

    /// From now on the primary alone says what is known of `digest`, for a while.
    pub(super) fn remember_deleted(&self, digest: Digest) {
        if self.replicas.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        if deleted.len() >= DELETED_MOST {
            deleted.retain(|_, at| now.duration_since(*at) < DELETED_FOR / 2);
        }
        deleted.insert(digest, now);
    }

    fn was_deleted_here(&self, digest: &Digest) -> bool {
        let deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        let at = deleted.get(digest);
        at.is_some_and(|at| at.elapsed() < DELETED_FOR)
    }
}

async fn look_up(server: &Server, digest: &Digest) -> Result<Option<Raw>, StoreError> {
    let key = *digest;
    let look = move |pool: PgPool| async move {
        sqlx::query_as::<_, Raw>(sql::of(&sql::GET, &key))
            .bind(key.as_bytes().as_slice())
            .fetch_optional(&pool)
            .await
    };
    server.call(look).await
}
