//! The two things the service does: keep a message under its digest, and look it up again.

use std::sync::Arc;

use tracing::{error, warn};

use crate::digest::Digest;
use crate::metrics::MessageMetrics;
use crate::store::{MessageStore, Put, StoreError};

/// Messages by their digests.
pub struct Messages {
    store: Arc<dyn MessageStore>,
    metrics: MessageMetrics,
    limit: usize,
}

/// Why a message was not kept, or not given back.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The message is longer than the limit.
    #[error("message is larger than {0} bytes")]
    TooLarge(usize),
    /// What the store gave back is not what was kept; it is not shown to anybody.
    #[error("the message is damaged in the store")]
    Damaged(Digest),
    /// The store failed.
    #[error("the store is not available")]
    Store(#[from] StoreError),
}

impl Messages {
    /// Messages of up to `limit` bytes, kept in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MessageStore>, metrics: MessageMetrics, limit: usize) -> Self {
        Self {
            store,
            metrics,
            limit,
        }
    }

    /// Bytes that a message may have.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Keeps `message` and answers its digest, once it would survive a crash.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooLarge`], or the store's.
    pub async fn keep(&self, message: &str) -> Result<Digest, MessageError> {
        if message.len() > self.limit {
            return Err(MessageError::TooLarge(self.limit));
        }
        let digest = Digest::of(message.as_bytes());
        let waiting = Waiting::start(&self.metrics);
        let put = self.store.put(&digest, message.as_bytes()).await?;
        drop(waiting);
        let outcome = match put {
            Put::New => "new",
            Put::Known => "known",
            Put::Mended => {
                warn!(message.digest = %digest, "message {digest} was damaged in the store and is mended");
                "mended"
            }
        };
        self.metrics.posts.with_label_values(&[outcome]).inc();
        Ok(digest)
    }

    /// The message with this digest; `None` when the store knows that there is none.
    ///
    /// Disks and file systems do change bytes, so what the store gives is hashed again.
    ///
    /// # Errors
    ///
    /// [`MessageError::Damaged`], or the store's.
    pub async fn look_up(&self, digest: &Digest) -> Result<Option<String>, MessageError> {
        let Some(body) = self.store.get(digest).await? else {
            self.metrics.lookups.with_label_values(&["missing"]).inc();
            return Ok(None);
        };
        let found = Digest::of(&body);
        let message = String::from_utf8(body).ok().filter(|_| found == *digest);
        let Some(message) = message else {
            error!(
                message.digest = %digest,
                body.digest = %found,
                "message {digest} is damaged in the store"
            );
            self.metrics.damaged.inc();
            return Err(MessageError::Damaged(*digest));
        };
        self.metrics.lookups.with_label_values(&["found"]).inc();
        Ok(Some(message))
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
