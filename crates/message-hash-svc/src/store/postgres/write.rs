//! Writing to a shard: puts of many callers in one statement, and deletions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use durable::Commit;
use sqlx::PgPool;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use crate::digest::Digest;
use crate::message::Message;
use crate::store::postgres::OnCommit;
use crate::store::postgres::columns::{
    BLOCKING_TOMBSTONE, Columns, Raw, TOMBSTONE, millis, row_of,
};
use crate::store::postgres::server::Server;
use crate::store::postgres::sql;
use crate::store::row::Encoded;
use crate::store::{Put, StoreError, settle};
use crate::token::{Token, Written};

/// Batches that are written at once.
const WRITERS: usize = 2;

/// Puts that may wait; the next one is refused as busy.
const QUEUE: usize = 1024;

/// Messages, and bytes of them, in one batch.
const BATCH_ROWS: usize = 512;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

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

/// Who writes to a shard.
pub(super) struct Writer {
    place: Arc<Place>,
    queue: mpsc::Sender<Job>,
}

/// Where is written, and how to tell how far.
pub(super) struct Place {
    pub(super) primary: Arc<Server>,
    pub(super) shard: String,
    pub(super) has_replicas: bool,
    pub(super) on_commit: Option<OnCommit>,
}

impl Writer {
    /// Starts the tasks that write; they end with the last clone.
    pub(super) fn start(place: Place) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let place = Arc::new(place);
        let jobs = Arc::new(AsyncMutex::new(jobs));
        for _ in 0..WRITERS {
            tokio::spawn(write_forever(Arc::clone(&place), Arc::clone(&jobs)));
        }
        Self { place, queue }
    }

    /// Writes messages in a batch with those of other callers.
    pub(super) async fn put(
        &self,
        messages: Vec<Message>,
    ) -> Result<Written<Vec<Put>>, StoreError> {
        let messages = messages
            .into_iter()
            .map(|message| (Encoded::of(&message.body), message))
            .collect();
        let (answer, outcome) = oneshot::channel();
        let job = Job { messages, answer };
        self.queue.try_send(job).map_err(|_| StoreError::Busy)?;
        outcome.await.unwrap_or(Err(StoreError::Busy))
    }

    /// Where all is that was written up to now.
    pub(super) async fn token(&self) -> Option<Token> {
        self.place.token().await
    }
}

impl Place {
    /// Where all is that was written up to now; to be asked after a commit. None where nobody could
    /// use it, or the primary cannot tell: then it is asked itself.
    async fn token(&self) -> Option<Token> {
        if !self.has_replicas {
            return None;
        }
        let (timeline, lsn) = self.primary.place(sql::WRITTEN).await.ok()?;
        Some(Token {
            shard: self.shard.clone(),
            timeline,
            lsn,
        })
    }
}

/// Messages of one caller, who waits.
struct Job {
    messages: Vec<(Encoded, Message)>,
    answer: oneshot::Sender<Result<Written<Vec<Put>>, StoreError>>,
}

/// Takes whatever waits, up to the bounds, and writes it; batches grow with the load.
async fn write_forever(place: Arc<Place>, jobs: Arc<AsyncMutex<mpsc::Receiver<Job>>>) {
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
        write(&place, batch).await;
    }
}

fn size_of(job: &Job) -> (usize, usize) {
    let bytes = job.messages.iter().map(|(encoded, _)| encoded.bytes.len());
    (job.messages.len(), bytes.sum())
}

/// Writes a batch and answers its callers.
async fn write(place: &Place, batch: Vec<Job>) {
    // In the order of the digests, so that two batches never wait for each other.
    let mut wanted: BTreeMap<Digest, (Encoded, Message)> = BTreeMap::new();
    for (encoded, message) in batch.iter().flat_map(|job| &job.messages) {
        let entry = wanted
            .entry(message.digest)
            .or_insert_with(|| (encoded.clone(), message.clone()));
        entry.1.expiry = entry.1.expiry.max(message.expiry);
    }
    let wanted = Arc::new(wanted);
    let (rows, started) = (Arc::clone(&wanted), Instant::now());
    let put = move |pool| put(pool, Arc::clone(&wanted));
    let outcome = place.primary.call(put).await;
    if let (Ok(_), Some(told)) = (&outcome, &place.on_commit) {
        told(&Commit {
            jobs: batch.len(),
            rows: rows.len(),
            bytes: rows.values().map(|(encoded, _)| encoded.bytes.len()).sum(),
            took: started.elapsed(),
        });
    }
    let token = match &outcome {
        Ok(_) => place.token().await,
        Err(_) => None,
    };
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
            Written {
                outcome: outcomes.collect(),
                tokens: token.clone().into_iter().collect(),
            }
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

/// Puts rows that are not there, and tells which those were.
pub(super) async fn insert(pool: PgPool, columns: Columns) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar(sql::INSERT)
        .bind(columns.digests)
        .bind(columns.codecs)
        .bind(columns.bodies)
        .bind(columns.expiries)
        .fetch_all(&pool)
        .await
}

/// Leaves a tombstone; `false` when there was nothing to delete and nothing is left.
pub(super) async fn delete(
    pool: PgPool,
    digest: Digest,
    leave: Leave,
) -> Result<bool, sqlx::Error> {
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
    sqlx::query(sql::TELL)
        .bind(digest.to_string())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}
