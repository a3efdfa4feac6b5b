//! The lock of a prefix, taken from shared-lock-svc over HTTP.
//!
//! It keeps replicas from getting into each other's way; what keeps names unique is the check-and-set
//! of the counter, whatever becomes of the lock.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use lock_client::{AcquireOptions, ClientOptions, Error, LockClient, LockGuard};
use service_kit::health::Readiness;
use tokio::time::{Instant, sleep};

use crate::{documents::Fence, hostname::Prefix};

/// How long a server may let us wait in its queue before it is asked whether it is there at all, and
/// how long it may take to say so.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a release is waited for; it goes on in the background after that.
const RELEASE: Duration = Duration::from_millis(500);

/// Why the lock of a prefix was not to be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LockError {
    /// Others had it, for as long as we could wait.
    #[error("the lock of the prefix was not to be had in time")]
    Timeout,
    /// The lock service is away.
    #[error("the lock service is unavailable: {0}")]
    Unavailable(String),
}

/// The locks of all prefixes.
#[derive(Debug, Clone)]
pub struct PrefixLocks {
    client: LockClient,
    probes: reqwest::Client,
    urls: Vec<String>,
    holder: String,
    key_prefix: String,
    ttl: Duration,
}

/// The lock of one prefix, held.
pub struct PrefixLock {
    guard: LockGuard,
}

impl PrefixLocks {
    /// Locks of the service at `urls`, under keys that begin with `key_prefix`.
    ///
    /// # Errors
    /// An option that cannot be used.
    pub fn new(
        urls: &[String],
        holder: &str,
        key_prefix: &str,
        ttl: Duration,
    ) -> anyhow::Result<Self> {
        let probes = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(SILENCE)
            .build()?;
        Ok(Self {
            client: LockClient::new(ClientOptions::new(urls.iter().cloned(), holder))?,
            probes,
            urls: urls.to_vec(),
            holder: holder.to_owned(),
            key_prefix: key_prefix.to_owned(),
            ttl,
        })
    }

    /// Takes the lock of `prefix`, waiting for it until `deadline`.
    ///
    /// # Errors
    /// It was not to be had in time, or the service is away: found within a second when it refuses, and
    /// within two when it is silent.
    pub async fn acquire(
        &self,
        prefix: &Prefix,
        deadline: Instant,
    ) -> Result<PrefixLock, LockError> {
        let key = format!("{}/{prefix}", self.key_prefix);
        let (mut client, mut urls) = (self.client.clone(), self.urls.clone());
        loop {
            let options = AcquireOptions {
                ttl: self.ttl,
                wait: deadline.saturating_duration_since(Instant::now()),
                ..AcquireOptions::default()
            };
            let answering = tokio::select! {
                acquired = client.acquire(&key, options) => return match acquired {
                    Ok(guard) => Ok(PrefixLock { guard }),
                    Err(Error::Held(_)) => Err(LockError::Timeout),
                    Err(error) => Err(LockError::Unavailable(error.to_string())),
                },
                answering = self.silence(&urls) => answering,
            };
            urls = answering;
            if urls.is_empty() {
                return Err(LockError::Unavailable("it does not answer".to_owned()));
            }
            client = LockClient::new(ClientOptions::new(urls.iter().cloned(), &self.holder))
                .map_err(|error| LockError::Unavailable(error.to_string()))?;
        }
    }

    /// Resolves when one of these servers does not say that it is there, with the ones that do. A server
    /// with a queue before our lock does not answer for a while, and nor does a dead one: only this
    /// tells them apart.
    async fn silence(&self, urls: &[String]) -> Vec<String> {
        loop {
            sleep(SILENCE).await;
            let answers = join_all(urls.iter().map(|url| self.probe(url, "livez"))).await;
            let there = urls
                .iter()
                .zip(&answers)
                .filter(|(_, answer)| answer.is_ok());
            let there: Vec<_> = there.map(|(url, _)| url.clone()).collect();
            if there.len() < urls.len() {
                return there;
            }
        }
    }

    async fn probe(&self, url: &str, path: &str) -> reqwest::Result<reqwest::Response> {
        self.probes.get(format!("{url}/{path}")).send().await
    }
}

#[async_trait]
impl Readiness for PrefixLocks {
    fn name(&self) -> &'static str {
        "shared-lock-svc"
    }

    async fn check(&self) -> Result<(), String> {
        let answers = join_all(self.urls.iter().map(|url| self.probe(url, "readyz"))).await;
        let ready = |answer: &Result<reqwest::Response, _>| {
            answer.as_ref().is_ok_and(|a| a.status().is_success())
        };
        match answers.iter().any(ready) {
            true => Ok(()),
            false => Err("no lock server is ready".to_owned()),
        }
    }
}

impl PrefixLock {
    /// What the counter will say of this hold.
    pub fn fence(&self) -> Fence {
        Fence {
            token: self.guard.fencing_token(),
            epoch: self.guard.token_epoch().to_owned(),
        }
    }

    /// Whether the lock is still held, as far as time tells.
    pub fn is_valid(&self) -> bool {
        self.guard.is_valid()
    }

    /// Gives the lock back. A release that fails only makes others wait for the end of the lease.
    pub async fn release(self) {
        if let Ok(Err(error)) = tokio::time::timeout(RELEASE, self.guard.release()).await {
            tracing::warn!("the lock of a prefix was not released: {error}");
        }
    }
}
