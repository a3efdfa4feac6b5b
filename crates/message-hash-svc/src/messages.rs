//! What the service does: keep a message under its digest, look it up again, take it away.

mod cache;
mod misses;
mod scrub;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::digest::Digest;
use crate::message::{Message, Shown};
use crate::messages::cache::{Answer, Cache, Turn};
use crate::messages::misses::Misses;
use crate::metrics::MessageMetrics;
use crate::store::{Found, Heard, MessageStore, Put, Shared, StoreError};
use crate::token::{Token, Written};

pub use crate::messages::cache::CacheLimits;
pub use crate::messages::scrub::Scrubbed;

/// How often expired messages are looked for. They are not given back from the moment on.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// How many go in one commit.
const EXPIRE_AT_ONCE: usize = 256;

/// Messages by their digests.
pub struct Messages {
    reader: Reader,
    limit: usize,
    sharing: Option<Sharing>,
}

/// What there is beside the messages where the store is shared.
struct Sharing {
    store: Arc<dyn Shared>,
    misses: Option<Misses>,
}

/// Who looks something up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker<'a> {
    /// What is to be seen at least, as far as it was written: then memory does not answer.
    pub seen: &'a [Token],
    /// Where the call came from.
    pub address: Option<IpAddr>,
}

/// What is known of a digest.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// The message.
    Found(Arc<Shown>),
    /// It was deleted.
    Deleted,
    /// Its time has passed.
    Expired,
    /// The store knows that there is none.
    Absent,
}

/// Why a message was not kept, or not given back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MessageError {
    /// The message is longer than the limit.
    #[error("message is larger than {0} bytes")]
    TooLarge(usize),
    /// It was deleted for good.
    #[error("the message was deleted and may not be kept again")]
    Blocked(Digest),
    /// What the store gave back is not what was kept; it is not shown to anybody.
    #[error("the message is damaged in the store")]
    Damaged(Digest),
    /// The caller asked too often for what is not there, and this could not be found nearby.
    #[error("too much was asked for that is not there")]
    TooManyMisses,
    /// The store failed.
    #[error("the store is not available")]
    Store(#[from] StoreError),
    /// The process is ending.
    #[error("the look-up was given up")]
    Abandoned,
}

impl Messages {
    /// Messages of up to `limit` bytes, kept in `store`.
    #[must_use]
    pub fn new(
        store: Arc<dyn MessageStore>,
        metrics: MessageMetrics,
        limit: usize,
        cache: CacheLimits,
    ) -> Self {
        let reader = Reader {
            store,
            cache: Arc::new(Cache::new(cache)),
            metrics: Arc::new(metrics),
        };
        Self {
            reader,
            limit,
            sharing: None,
        }
    }

    /// The same on a store that other replicas of the service use, too: what they delete is forgotten,
    /// and who asks for what is not there more than `misses` times a second is answered only from
    /// memory and nearby; 0 is no limit.
    #[must_use]
    pub fn sharing(self, store: Arc<dyn Shared>, misses: u32) -> Self {
        let misses = (misses > 0).then(|| Misses::new(misses));
        let sharing = Some(Sharing { store, misses });
        Self { sharing, ..self }
    }

    /// Bytes that a message may have.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Keeps one message, and tells whether it is new, once it would survive a crash.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooLarge`], [`MessageError::Blocked`], or the store's.
    pub async fn keep(&self, message: Message) -> Result<Written<Put>, MessageError> {
        let digest = message.digest;
        let Written {
            mut outcome,
            tokens,
        } = self.keep_all(vec![message]).await?;
        match outcome.pop() {
            None | Some(Put::Blocked) => Err(MessageError::Blocked(digest)),
            Some(outcome) => Ok(Written { outcome, tokens }),
        }
    }

    /// Keeps all messages by one commit, or none.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooLarge`] when one of them is, or the store's.
    pub async fn keep_all(
        &self,
        messages: Vec<Message>,
    ) -> Result<Written<Vec<Put>>, MessageError> {
        if messages.iter().any(|it| it.body.len() > self.limit) {
            return Err(MessageError::TooLarge(self.limit));
        }
        let Reader {
            store,
            cache,
            metrics,
        } = &self.reader;
        let digests: Vec<Digest> = messages.iter().map(|it| it.digest).collect();
        let waiting = Waiting::start(metrics);
        let put = store.put(messages).await;
        drop(waiting);
        // Also when it failed: it may have taken effect.
        for digest in &digests {
            cache.changed(digest);
        }
        let put = put?;
        for (digest, put) in digests.iter().zip(&put.outcome) {
            if *put == Put::Mended {
                warn!(message.digest = %digest, "message {digest} was damaged in the store and is mended");
            }
            metrics.posts.with_label_values(&[outcome(*put)]).inc();
        }
        Ok(put)
    }

    /// What is known of this digest.
    ///
    /// # Errors
    ///
    /// [`MessageError::Damaged`], [`MessageError::TooManyMisses`], or the store's.
    pub async fn look_up(&self, digest: &Digest, asker: Asker<'_>) -> Result<Lookup, MessageError> {
        let Reader { cache, metrics, .. } = &self.reader;
        if asker.seen.is_empty()
            && let Some(shown) = cache.get(digest)
        {
            metrics.cached.inc();
            return Ok(Lookup::Found(shown));
        }
        let sharing = self.sharing.as_ref();
        let Some((sharing, misses, caller)) =
            sharing.and_then(|it| Some((it, it.misses.as_ref()?, asker.address?)))
        else {
            return self.ask(digest, asker.seen).await;
        };
        if !misses.may(caller) {
            return match sharing.store.get_nearby(digest).await {
                Some(found) if asker.seen.is_empty() => self.reader.see(digest, found).await,
                _ => Err(MessageError::TooManyMisses),
            };
        }
        let found = self.ask(digest, asker.seen).await;
        if matches!(
            found,
            Ok(Lookup::Deleted | Lookup::Expired | Lookup::Absent)
        ) {
            misses.count(caller);
        }
        found
    }

    /// Looks it up in the store, together with others who ask for the same.
    async fn ask(&self, digest: &Digest, seen: &[Token]) -> Result<Lookup, MessageError> {
        if !seen.is_empty() {
            return self.reader.look_up(digest, seen).await;
        }
        let pending = match self.reader.cache.join(digest) {
            Turn::Wait(pending) => pending,
            Turn::Lead(lead, pending) => {
                // On its own: others may wait for it when this caller has left.
                let (reader, digest) = (self.reader.clone(), *digest);
                tokio::spawn(async move {
                    lead.finish(reader.look_up(&digest, &[]).await);
                    reader
                        .metrics
                        .cache_bytes
                        .set(i64::try_from(reader.cache.bytes()).unwrap_or(i64::MAX));
                });
                pending
            }
        };
        pending.answer().await
    }

    /// Takes a message away, and refuses it from now on when `block`; `false` when it is not known.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn delete(
        &self,
        digest: &Digest,
        block: bool,
    ) -> Result<Written<bool>, MessageError> {
        let (reader, digest) = (self.reader.clone(), *digest);
        // On its own: a caller that leaves must not keep the cache from hearing of it.
        let deleted = tokio::spawn(async move {
            let deleted = reader.store.delete(&digest, block).await;
            reader.cache.changed(&digest);
            deleted
        });
        let deleted = deleted.await.map_err(|_| MessageError::Abandoned)??;
        if deleted.outcome {
            self.reader.metrics.deletions.inc();
            info!(message.digest = %digest, block, "message {digest} deleted");
        }
        Ok(deleted)
    }

    /// Forgets what memory holds of messages that other replicas of the service delete, for as long as
    /// it is polled.
    pub async fn hear_forever(self: Arc<Self>) {
        let Some(Sharing { store, .. }) = &self.sharing else {
            return;
        };
        let cache = &self.reader.cache;
        let heard = |heard| match heard {
            Heard::Deleted(digest) => cache.changed(&digest),
            Heard::Missed => cache.all_changed(),
        };
        store.hear_forever(&heard).await;
    }

    /// Removes messages whose time has come, now and then, for as long as it is polled.
    pub async fn expire_forever(self: Arc<Self>) {
        let Reader { store, metrics, .. } = &self.reader;
        loop {
            tokio::time::sleep(EXPIRE_EVERY).await;
            let mut removed = EXPIRE_AT_ONCE;
            while removed == EXPIRE_AT_ONCE {
                removed = store.expire(EXPIRE_AT_ONCE).await.unwrap_or_else(|fault| {
                    warn!(error = %fault, "expired messages could not be removed");
                    0
                });
                metrics.expired.inc_by(removed as u64);
            }
        }
    }
}

/// Everything that a look-up needs, also when its caller has left.
#[derive(Clone)]
struct Reader {
    store: Arc<dyn MessageStore>,
    cache: Arc<Cache>,
    metrics: Arc<MessageMetrics>,
}

impl Reader {
    async fn look_up(&self, digest: &Digest, seen: &[Token]) -> Answer {
        let answer = self.read(digest, seen).await;
        let outcome = match &answer {
            Ok(Lookup::Found(_)) => "found",
            Ok(Lookup::Deleted) => "deleted",
            Ok(Lookup::Expired) => "expired",
            Ok(Lookup::Absent) => "missing",
            Err(MessageError::Damaged(_)) => "damaged",
            Err(_) => "failed",
        };
        self.metrics.lookups.with_label_values(&[outcome]).inc();
        answer
    }

    async fn read(&self, digest: &Digest, seen: &[Token]) -> Answer {
        let found = self.store.get(digest, seen).await?;
        self.see(digest, found).await
    }

    /// Disks and file systems do change bytes, so what the store gives is hashed again.
    async fn see(&self, digest: &Digest, found: Found) -> Answer {
        let (body, expiry) = match found {
            Found::Message(_, expiry) if expiry.has_passed() => return Ok(Lookup::Expired),
            Found::Message(body, expiry) => (body, expiry),
            Found::Deleted { .. } => return Ok(Lookup::Deleted),
            Found::Absent => return Ok(Lookup::Absent),
            Found::Damaged => return Err(self.damaged(digest).await),
        };
        if Digest::of(&body) == *digest {
            return Ok(Lookup::Found(Arc::new(Shown::new(*digest, body, expiry))));
        }
        Err(self.damaged(digest).await)
    }

    async fn damaged(&self, digest: &Digest) -> MessageError {
        self.metrics.damaged.inc();
        error!(message.digest = %digest, "message {digest} is damaged in the store");
        if let Err(fault) = self.store.quarantine(digest).await {
            warn!(message.digest = %digest, error = %fault, "message {digest} could not be put aside");
        }
        MessageError::Damaged(*digest)
    }
}

fn outcome(put: Put) -> &'static str {
    match put {
        Put::New => "new",
        Put::Known => "known",
        Put::Mended => "mended",
        Put::Blocked => "blocked",
    }
}

/// One post that waits for the disk; also counted down when its caller leaves.
struct Waiting<'a>(&'a MessageMetrics);

impl<'a> Waiting<'a> {
    fn start(metrics: &'a MessageMetrics) -> Self {
        metrics.posts_waiting.inc();
        Self(metrics)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.posts_waiting.dec();
    }
}
