//! Where the servers are, who we are, and how a lock is asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

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
    /// What `https://` stands on.
    pub tls: TlsOptions,
    /// A file with the bearer token to send. It is read anew for each request, so that a token may be
    /// replaced while locks are held.
    pub bearer_token_file: Option<PathBuf>,
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
            tls: TlsOptions::default(),
            bearer_token_file: None,
        }
    }
}

/// What `https://` stands on. The files are PEM. They are read when the client is made, and again within a
/// second of being replaced: what is held meanwhile stays held, over connections that stand on the new ones.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// The authorities to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate to show, with those between it and its authority. Goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The private key of that certificate.
    pub key_file: Option<PathBuf>,
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// One holder.
    #[default]
    Exclusive,
    /// Any number of holders, all of this mode: readers.
    Shared,
    /// As many holders as fit: a semaphore.
    Permit {
        /// What all weights may come to, 1–1,000,000. The least of all holders' limits is the one that counts.
        limit: u32,
        /// What this holder counts for, at most `limit`.
        weight: u32,
    },
}

/// How to ask for a lock.
#[derive(Debug, Clone)]
pub struct AcquireOptions {
    /// Life of the lease between two renewals; the server may grant a longer one. Default 10 s. In a
    /// session, the session's counts.
    pub ttl: Duration,
    /// How long to stand in the queue. Default 30 s.
    pub wait: Duration,
    /// How to hold it. Default [`Mode::Exclusive`].
    pub mode: Mode,
    /// How long nobody shall get the lock after this tenure *expires*. Default zero; with
    /// [`Mode::Exclusive`] alone.
    pub lock_delay: Duration,
    /// Whether a lock that this client holds already, in the same mode and asked for in this way too, is
    /// given to it once more. Default `false`: two tasks of one program then exclude each other. The
    /// lock goes back with the last of its guards.
    pub reentrant: bool,
    /// What others see beside the holder.
    pub metadata: BTreeMap<String, String>,
}

impl Default for AcquireOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            wait: Duration::from_secs(30),
            mode: Mode::Exclusive,
            lock_delay: Duration::ZERO,
            reentrant: false,
            metadata: BTreeMap::new(),
        }
    }
}

/// How to open a session.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Life of the session between two renewals. Default 10 s.
    pub ttl: Duration,
    /// Whether each renewal of the session, which is one call, asks after each of its locks too. Default
    /// `true`: a lock that was taken by force is lost within one keepalive. With `false` that call is as
    /// small and as cheap for the service with thousands of locks as with one, and a guard is lost with its
    /// session only.
    pub check_locks: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            check_locks: true,
        }
    }
}
