//! The client: where the servers are, who we are, and the ways to ask for a lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::instrument;

use crate::acquire;
use crate::error::Error;
use crate::guard::LockGuard;
use crate::key::Key;
use crate::transport::Transport;

/// Where the servers are and who we are.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The servers, each `http://` or `https://`; all of them on one store.
    pub base_urls: Vec<String>,
    /// What others see when they ask who has a lock: 1–256 bytes without control characters.
    pub holder: String,
    /// Longest time that a server may take to answer, waiting for a lock not included. Default 2 s.
    pub request_timeout: Duration,
    /// Longest time for a connection to open. Default 500 ms.
    pub connect_timeout: Duration,
    /// How long to go on asking while every server refuses or says that it cannot. Default 500 ms.
    pub patience: Duration,
}

impl ClientOptions {
    /// Options with the defaults for everything but where and who.
    pub fn new<U: Into<String>>(
        base_urls: impl IntoIterator<Item = U>,
        holder: impl Into<String>,
    ) -> Self {
        Self {
            base_urls: base_urls.into_iter().map(Into::into).collect(),
            holder: holder.into(),
            request_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_millis(500),
            patience: Duration::from_millis(500),
        }
    }
}

/// How to ask for a lock.
#[derive(Debug, Clone)]
pub struct AcquireOptions {
    /// Life of the lease between two renewals; the server may grant a longer one. Default 10 s.
    pub ttl: Duration,
    /// How long to stand in the queue. Default 30 s.
    pub wait: Duration,
    /// What others see beside the holder.
    pub metadata: BTreeMap<String, String>,
}

impl Default for AcquireOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            wait: Duration::from_secs(30),
            metadata: BTreeMap::new(),
        }
    }
}

/// A client of the lock service. Clones are cheap and share the connections.
#[derive(Debug, Clone)]
pub struct LockClient(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) transport: Transport,
    pub(crate) holder: String,
    pub(crate) patience: Duration,
}

impl LockClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        let transport = Transport::new(&options)?;
        Ok(Self(Arc::new(Inner {
            transport,
            holder: options.holder,
            patience: options.patience,
        })))
    }

    /// Takes a lock, or stands in its queue for at most `options.wait`. Dropping the future leaves the
    /// queue and gives back what was granted meanwhile.
    ///
    /// # Errors
    /// [`Error::Held`] when the wait is over and somebody else has the lock; any other kind when the
    /// service cannot tell. Whichever it is: nothing is held, or will be given back in the background.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[instrument(name = "lock.acquire", skip_all, fields(otel.kind = "client"))]
    pub async fn acquire(&self, key: &str, options: AcquireOptions) -> Result<LockGuard, Error> {
        acquire::acquire(&self.0, Key::parse(key)?, &options).await
    }

    /// Whether one of the servers is ready: asks all of them at once.
    ///
    /// # Errors
    /// What the last of them answered instead.
    pub async fn ready(&self) -> Result<(), Error> {
        self.0.transport.ready().await
    }

    /// Takes a lock if it is free, without waiting: `options.wait` is not looked at.
    ///
    /// # Errors
    /// As [`LockClient::acquire`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn try_acquire(
        &self,
        key: &str,
        options: AcquireOptions,
    ) -> Result<LockGuard, Error> {
        self.acquire(
            key,
            AcquireOptions {
                wait: Duration::ZERO,
                ..options
            },
        )
        .await
    }
}
