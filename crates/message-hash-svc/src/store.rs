//! Where messages are kept: a map from digest to body that never changes a body.

pub mod embedded;

use async_trait::async_trait;

use crate::digest::Digest;

/// Keeps bodies under their digests.
#[async_trait]
pub trait MessageStore: Send + Sync {
    /// Keeps `body` under `digest`; answers only when it would survive a crash.
    async fn put(&self, digest: &Digest, body: &[u8]) -> Result<Put, StoreError>;

    /// The body kept under `digest`. `None` means that there is none, not that it could not be read.
    async fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;
}

/// What a put found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Nothing was there.
    New,
    /// The same body was there.
    Known,
    /// Another body was there, which cannot be: it was damaged, and is now replaced.
    Mended,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too much to do at the moment.
    #[error("the store has too much to do")]
    Busy,
    /// It failed; whether a put took effect is not known.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
