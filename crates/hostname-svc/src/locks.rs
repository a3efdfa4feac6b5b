//! The lock of a prefix, taken from shared-lock-svc over HTTP.
//!
//! It keeps replicas from getting into each other's way; what keeps names unique is the check-and-set
//! of the counter, whatever becomes of the lock.

use std::{convert::Infallible, sync::Arc, time::Duration};

use lock_client::{AcquireOptions, ClientOptions, Error, LockClient, LockGuard};
use serde::{Deserialize, Serialize};
use service_kit::complaint::{complain, settle};
use tokio::time::Instant;

use crate::{
    breaker::{Breaker, Fault, REFUSAL, Watch},
    documents::Fence,
    hostname::Prefix,
    metrics::Metrics,
};

/// How long a server may be silent: about its answer, or in a queue about its being there at all.
const SILENCE: Duration = Duration::from_secs(1);
/// How long all servers may be silent before calls that need a lock fail at once.
const LONG_SILENCE: Duration = Duration::from_millis(1500);
/// What it is called in complaints.
const SERVICE: &str = "lock service";
/// How long a release is waited for; it goes on in the background after that.
const RELEASE: Duration = Duration::from_millis(500);

/// Why the lock of a prefix was not to be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LockError {
    /// Others had it, for as long as we could wait.
    #[error("the lock of the prefix was not to be had in time")]
    Timeout,
    /// The lock service understands, and will not.
    #[error("the lock service refuses the request: {0}")]
    Refused(String),
    /// The lock service is away.
    #[error("the lock service is unavailable")]
    Unavailable(#[source] Arc<Error>),
}

impl LockError {
    /// What the metrics call it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// The locks of all prefixes.
#[derive(Debug, Clone)]
pub struct PrefixLocks {
    client: LockClient,
    key_prefix: String,
    ttl: Duration,
    breaker: Breaker<LockError>,
}

/// The lock of one prefix, held.
pub struct PrefixLock {
    guard: LockGuard,
}

/// What a holder leaves to the next one, outside the store of hostnames: how far the counter has come. A
/// store that was restored from an older state does not know it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    counter: u64,
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
        let options = ClientOptions {
            request_timeout: SILENCE,
            ..ClientOptions::new(urls.iter().cloned(), holder)
        };
        Ok(Self {
            client: LockClient::new(options)?,
            key_prefix: key_prefix.to_owned(),
            ttl,
            breaker: Breaker::closed(),
        })
    }

    /// Asks the servers whether one of them is ready.
    pub async fn watch(self, metrics: Metrics) -> Infallible {
        let watch = Watch {
            name: "locks",
            silence: LONG_SILENCE,
            silent: LockError::Unavailable(Arc::new(Error::Timeout)),
            up: metrics.dependency_up.with_label_values(&["locks"]),
            outages: metrics.dependency_outages.with_label_values(&["locks"]),
        };
        let probe = || async {
            let answer = self.client.ready().await;
            answer.map_err(|error| Fault {
                error: LockError::Unavailable(Arc::new(error)),
                patience: REFUSAL,
            })
        };
        self.breaker.clone().watch(watch, probe).await
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
        let options = AcquireOptions {
            ttl: self.ttl,
            wait: deadline.saturating_duration_since(Instant::now()),
            ..AcquireOptions::default()
        };
        let key = format!("{}/{prefix}", self.key_prefix);
        let outcome = tokio::select! {
            biased;
            error = self.breaker.away() => Err(error),
            outcome = self.ask(&key, options) => outcome,
        };
        watch(&outcome);
        outcome
    }

    async fn ask(&self, key: &str, options: AcquireOptions) -> Result<PrefixLock, LockError> {
        let outcome = match self.client.acquire(key, options).await {
            Ok(guard) => Ok(PrefixLock { guard }),
            // Lost: it was granted so late that its lease may be over.
            Err(Error::Held(_) | Error::Lost { .. }) => Err(LockError::Timeout),
            Err(Error::Server(problem)) if problem.status < 500 && !problem.retryable => {
                Err(LockError::Refused(problem.detail))
            }
            Err(error) => Err(LockError::Unavailable(Arc::new(error))),
        };
        if !matches!(outcome, Err(LockError::Unavailable(_))) {
            self.breaker.answered();
        }
        outcome
    }
}

/// Tells once that the lock service is away or refuses us, and once that it serves again: nothing else
/// watches it, since without it the service is ready all the same.
fn watch(outcome: &Result<PrefixLock, LockError>) {
    match outcome {
        Ok(_) | Err(LockError::Timeout) => {
            if settle(SERVICE) {
                tracing::info!("the lock service serves again");
            }
        }
        Err(error @ LockError::Refused(_)) => complain(SERVICE, error),
        Err(LockError::Unavailable(error)) => match std::error::Error::source(&**error) {
            Some(source) => complain(SERVICE, format!("{error}: {source}")),
            None => complain(SERVICE, error),
        },
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

    /// How far the counter has come, as earlier holders said.
    pub fn mark(&self) -> u64 {
        let note = self.guard.note().map(serde_json::from_str::<Note>);
        note.map_or(0, |note| note.map_or(0, |note| note.counter))
    }

    /// Gives the lock back, and says how far the counter has come, if that is known. A release that fails
    /// only makes others wait for the end of the lease.
    pub async fn release(self, counter: Option<u64>) {
        let note = counter.filter(|counter| *counter > self.mark());
        let note = note.and_then(|counter| serde_json::to_string(&Note { counter }).ok());
        let release = async {
            match note {
                Some(note) => self.guard.release_with_note(&note).await,
                None => self.guard.release().await,
            }
        };
        if let Ok(Err(error)) = tokio::time::timeout(RELEASE, release).await {
            let kind = if error.is_outage() {
                "the service is away"
            } else {
                "it was lost"
            };
            tracing::warn!("the lock of a prefix was not released: {kind}");
        }
    }
}
