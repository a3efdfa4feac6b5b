//! One shard: a primary, its replicas, and the tasks that write to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc, oneshot};

use crate::digest::Digest;
use crate::message::{Expiry, Message, Moment};
use crate::store::postgres::options::ShardOptions;
use crate::store::postgres::server::Server;
use crate::store::postgres::sql;
use crate::store::row::{self, Encoded, Row};
use crate::store::{Put, StoreError, settle};

/// Batches that are written at once.
const WRITERS: usize = 2;

/// Puts that may wait; the next one is refused as busy.
const QUEUE: usize = 1024;

/// Messages, and bytes of them, in one batch.
const BATCH_ROWS: usize = 512;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Look-ups that a replica could not answer, at the primary at once, and waiting for that: a flood of
/// digests that name nothing must not keep writes from it.
const MISSES: usize = 8;
const MISSES_WAITING: usize = 256;

/// How long a message that was deleted here is looked up at the primary alone: a replica may lag.
const DELETED_FOR: Duration = Duration::from_secs(60);
const DELETED_MOST: usize = 100_000;

const TOMBSTONE: i16 = 2;
const BLOCKING_TOMBSTONE: i16 = 3;

/// A row as PostgreSQL gives it.
pub(super) type Raw = (i16, Vec<u8>, Option<i64>);

/// A primary and its replicas.
pub(super) struct Shard {
    pub(super) name: String,
    pub(super) weight: f64,
    /// Writes, and what the administrator does.
    primary: Arc<Server>,
    /// Look-ups at the primary: they have connections of their own.
    authority: Server,
    replicas: Vec<Server>,
    next_replica: AtomicUsize,
    queue: mpsc::Sender<Job>,
    deleted: Mutex<HashMap<Digest, Instant>>,
    misses: Semaphore,
    misses_waiting: Semaphore,
}

/// Where a deletion leaves a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Only where something was.
    WhereItWas,
    /// Also where nothing was: the message may be on its way there.
    Always,
    /// Also where nothing was, and further puts are refused.
    Block,
}

/// Messages of one caller, who waits.
struct Job {
    messages: Vec<(Encoded, Message)>,
    answer: oneshot::Sender<Result<Vec<Put>, StoreError>>,
}

impl Shard {
    pub(super) fn open(options: ShardOptions, connections: u32, timeout: Duration) -> Arc<Self> {
        let server = |of| Server::new(of, connections, timeout);
        let primary = Arc::new(server(options.primary.clone()));
        let (queue, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(AsyncMutex::new(jobs));
        for _ in 0..WRITERS {
            tokio::spawn(write_forever(Arc::clone(&primary), Arc::clone(&jobs)));
        }
        Arc::new(Self {
            name: options.name,
            weight: options.weight,
            primary,
            authority: server(options.primary),
            replicas: options.replicas.into_iter().map(server).collect(),
            next_replica: AtomicUsize::new(0),
            queue,
            deleted: Mutex::default(),
            misses: Semaphore::new(MISSES),
            misses_waiting: Semaphore::new(MISSES_WAITING),
        })
    }

    /// Writes messages in a batch with those of other callers.
    pub(super) async fn put(&self, messages: Vec<Message>) -> Result<Vec<Put>, StoreError> {
        let messages = messages
            .into_iter()
            .map(|message| (Encoded::of(&message.body), message))
            .collect();
        let (answer, outcome) = oneshot::channel();
        let job = Job { messages, answer };
        self.queue.try_send(job).map_err(|_| StoreError::Busy)?;
        outcome.await.unwrap_or(Err(StoreError::Busy))
    }

    /// What is known of a digest. A message that a replica has is right, since bodies never change.
    /// What it has not, or has as deleted or expired, may be otherwise at the primary, which alone
    /// says so; a body that a replica's disk has damaged, too.
    pub(super) async fn get(&self, digest: &Digest) -> Result<Option<Row>, StoreError> {
        if !self.was_deleted_here(digest)
            && let Some(replica) = self.replica()
            && let Ok(Some(found)) = look_up(replica, digest).await
            && let Row::Body(body, expiry) = row_of(found)
            && !expiry.has_passed()
            && Digest::of(&body) == *digest
        {
            return Ok(Some(Row::Body(body, expiry)));
        }
        Ok(self.get_from_primary(digest).await?.map(row_of))
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
    pub(super) async fn delete(&self, digest: &Digest, leave: Leave) -> Result<bool, StoreError> {
        let key = *digest;
        let deleted = self
            .primary
            .call(move |pool| delete(pool, key, leave))
            .await;
        self.remember_deleted(key);
        deleted
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
            .call(move |pool| insert(pool, columns.clone()))
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

    pub(super) fn has_replicas(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// The replicas take turns.
    fn replica(&self) -> Option<&Server> {
        if self.replicas.is_empty() {
            return None;
        }
        let turn = self.next_replica.fetch_add(1, Ordering::Relaxed);
        self.replicas.get(turn % self.replicas.len())
    }

    fn remember_deleted(&self, digest: Digest) {
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

/// A row as everybody understands it.
pub(super) fn row_of((codec, body, expiry): Raw) -> Row {
    let expiry = expiry.map_or(Expiry::Never, |at| {
        Expiry::At(Moment(u64::try_from(at).unwrap_or(0)))
    });
    match codec {
        TOMBSTONE => Row::Tombstone { blocks: false },
        BLOCKING_TOMBSTONE => Row::Tombstone { blocks: true },
        _ => match row::decode_raw(codec, &body) {
            Some(body) => Row::Body(body.into(), expiry),
            None => Row::Damaged,
        },
    }
}

/// Whether a column of `codec` holds the message with this digest.
pub(super) fn is_sound(digest: &Digest, codec: i16, body: &[u8]) -> bool {
    row::decode_raw(codec, body).is_some_and(|body| Digest::of(&body) == *digest)
}

fn millis(expiry: Expiry) -> Option<i64> {
    match expiry {
        Expiry::Never => None,
        Expiry::At(Moment(at)) => Some(i64::try_from(at).unwrap_or(i64::MAX)),
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

async fn delete(pool: PgPool, digest: Digest, leave: Leave) -> Result<bool, sqlx::Error> {
    let key = digest.as_bytes().as_slice();
    let block = leave == Leave::Block;
    let mut transaction = pool.begin().await?;
    if leave != Leave::WhereItWas {
        let codec = if block { BLOCKING_TOMBSTONE } else { TOMBSTONE };
        let row = std::iter::once((digest, codec, Vec::new(), None));
        let Columns {
            digests,
            codecs,
            bodies,
            expiries,
        } = Columns::of(row);
        sqlx::query(sql::INSERT)
            .bind(digests)
            .bind(codecs)
            .bind(bodies)
            .bind(expiries)
            .execute(&mut *transaction)
            .await?;
    }
    let found: Option<Raw> = sqlx::query_as(sql::of(&sql::LOCK, &digest))
        .bind(key)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some((codec, ..)) = found else {
        return Ok(false);
    };
    let codec = if block || codec == BLOCKING_TOMBSTONE {
        BLOCKING_TOMBSTONE
    } else {
        TOMBSTONE
    };
    sqlx::query(sql::of(&sql::UPDATE, &digest))
        .bind(key)
        .bind(codec)
        .bind(&[][..] as &[u8])
        .bind(None::<i64>)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Takes whatever waits, up to the bounds, and writes it; batches grow with the load.
async fn write_forever(primary: Arc<Server>, jobs: Arc<AsyncMutex<mpsc::Receiver<Job>>>) {
    loop {
        let mut batch = Vec::new();
        {
            let mut jobs = jobs.lock().await;
            let Some(first) = jobs.recv().await else {
                return;
            };
            let (mut rows, mut bytes) = size_of(&first);
            batch.push(first);
            while rows < BATCH_ROWS && bytes < BATCH_BYTES {
                let Ok(job) = jobs.try_recv() else {
                    break;
                };
                let more = size_of(&job);
                (rows, bytes) = (rows + more.0, bytes + more.1);
                batch.push(job);
            }
        }
        write(&primary, batch).await;
    }
}

fn size_of(job: &Job) -> (usize, usize) {
    let bytes = job.messages.iter().map(|(encoded, _)| encoded.bytes.len());
    (job.messages.len(), bytes.sum())
}

/// Writes a batch and answers its callers.
async fn write(primary: &Server, batch: Vec<Job>) {
    // In the order of the digests, so that two batches never wait for each other.
    let mut wanted: BTreeMap<Digest, (Encoded, Message)> = BTreeMap::new();
    for (encoded, message) in batch.iter().flat_map(|job| &job.messages) {
        let entry = wanted
            .entry(message.digest)
            .or_insert_with(|| (encoded.clone(), message.clone()));
        entry.1.expiry = entry.1.expiry.max(message.expiry);
    }
    let wanted = Arc::new(wanted);
    let outcome = primary
        .call(move |pool| put(pool, Arc::clone(&wanted)))
        .await;
    let mut seen = HashMap::new();
    for job in batch {
        let answer = outcome.as_ref().map_err(Clone::clone).map(|puts| {
            let digests = job.messages.iter().map(|(_, message)| message.digest);
            let outcomes = digests.map(|digest| {
                let put = puts.get(&digest).copied().unwrap_or(Put::Known);
                // Of several that put the same message the first one found it new.
                let is_first = seen.insert(digest, ()).is_none();
                if is_first || put == Put::Blocked {
                    put
                } else {
                    Put::Known
                }
            });
            outcomes.collect()
        });
        let _ = job.answer.send(answer);
    }
}

async fn put(
    pool: PgPool,
    wanted: Arc<BTreeMap<Digest, (Encoded, Message)>>,
) -> Result<HashMap<Digest, Put>, sqlx::Error> {
    let columns = Columns::of(wanted.iter().map(|(digest, (encoded, message))| {
        let codec = i16::from(encoded.codec);
        (
            *digest,
            codec,
            encoded.bytes.to_vec(),
            millis(message.expiry),
        )
    }));
    let new = insert(pool.clone(), columns).await?;
    let mut puts: HashMap<Digest, Put> = new
        .iter()
        .filter_map(|digest| Some((Digest::from_bytes(digest)?, Put::New)))
        .collect();
    if puts.len() == wanted.len() {
        return Ok(puts);
    }
    let mut transaction = pool.begin().await?;
    for (digest, (encoded, message)) in wanted.iter() {
        if puts.contains_key(digest) {
            continue;
        }
        let key = digest.as_bytes().as_slice();
        let found: Option<Raw> = sqlx::query_as(sql::of(&sql::LOCK, digest))
            .bind(key)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(found) = found else {
            // Expired and removed between the two statements: as good as never there.
            return Err(sqlx::Error::Protocol(
                "a row went away, to be tried again".into(),
            ));
        };
        let (put, expiry) = settle(Some(row_of(found)), message);
        if let Some(expiry) = expiry {
            sqlx::query(sql::of(&sql::UPDATE, digest))
                .bind(key)
                .bind(i16::from(encoded.codec))
                .bind(encoded.bytes.to_vec())
                .bind(millis(expiry))
                .execute(&mut *transaction)
                .await?;
        }
        puts.insert(*digest, put);
    }
    transaction.commit().await?;
    Ok(puts)
}

async fn insert(pool: PgPool, columns: Columns) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar(sql::INSERT)
        .bind(columns.digests)
        .bind(columns.codecs)
        .bind(columns.bodies)
        .bind(columns.expiries)
        .fetch_all(&pool)
        .await
}

/// Rows, column by column.
#[derive(Clone, Default)]
struct Columns {
    digests: Vec<Vec<u8>>,
    codecs: Vec<i16>,
    bodies: Vec<Vec<u8>>,
    expiries: Vec<Option<i64>>,
}

impl Columns {
    fn of(rows: impl Iterator<Item = (Digest, i16, Vec<u8>, Option<i64>)>) -> Self {
        let mut columns = Self::default();
        for (digest, codec, body, expiry) in rows {
            columns.digests.push(digest.as_bytes().to_vec());
            columns.codecs.push(codec);
            columns.bodies.push(body);
            columns.expiries.push(expiry);
        }
        columns
    }
}
