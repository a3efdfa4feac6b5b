//! A lock held: it renews itself, and says when it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{Instrument, debug, info_span, warn};

use crate::client::Inner;
use crate::clock::{Moment, sleep_until};
use crate::error::Error;
use crate::key::Key;
use crate::transport::{Failure, pause};
use crate::wire::{AcquiredBody, KeepAliveBody, KeptAliveBody, ReleaseBody, ReleasedBody};

/// A lock held. Dropping it gives the lock back in the background; [`LockGuard::release`] waits for it.
#[derive(Debug)]
#[must_use = "dropping the guard gives the lock back"]
pub struct LockGuard {
    tenure: Arc<Tenure>,
    renewal: AbortHandle,
    runtime: Handle,
    released: bool,
}

/// What the guard and its renewal both know.
#[derive(Debug)]
struct Tenure {
    client: Arc<Inner>,
    key: Key,
    lease_id: String,
    fencing_token: u64,
    token_epoch: String,
    validity: watch::Sender<Validity>,
}

#[derive(Debug, Clone, Copy)]
struct Validity {
    until: Moment,
    lost: bool,
}

impl LockGuard {
    /// A guard for what was granted to a request sent at `sent`. The lease runs on the server since
    /// some moment after `sent`, so counting from there never counts too much.
    pub(crate) fn new(client: &Arc<Inner>, key: &Key, sent: Moment, granted: AcquiredBody) -> Self {
        let ttl = Duration::from_millis(granted.ttl_ms);
        let answered = sent + Duration::from_millis(granted.elapsed_ms);
        let until = answered + Duration::from_millis(granted.remaining_ms) - margin(ttl);
        let (validity, _) = watch::channel(Validity { until, lost: false });
        let tenure = Arc::new(Tenure {
            client: Arc::clone(client),
            key: key.clone(),
            lease_id: granted.lease_id,
            fencing_token: granted.fencing_token,
            token_epoch: granted.token_epoch,
            validity,
        });
        let runtime = Handle::current();
        let renewal = runtime
            .spawn(renew(Arc::clone(&tenure), ttl))
            .abort_handle();
        Self {
            tenure,
            renewal,
            runtime,
            released: false,
        }
    }

    /// The lock.
    pub fn key(&self) -> &str {
        self.tenure.key.as_str()
    }

    /// Grows with every grant of this lock: what a resource compares to refuse a holder of the past.
    pub fn fencing_token(&self) -> u64 {
        self.tenure.fencing_token
    }

    /// Tokens compare only within one epoch: it changes when the service's store is restored or
    /// replaced.
    pub fn token_epoch(&self) -> &str {
        &self.tenure.token_epoch
    }

    /// Name of the lease behind the lock; whoever knows it can renew or release it.
    pub fn lease_id(&self) -> &str {
        &self.tenure.lease_id
    }

    /// Whether the lock is surely held, as far as time tells. Ask before each step that needs it.
    pub fn is_valid(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// Time for which the lock is surely held even if no renewal succeeds any more.
    pub fn remaining(&self) -> Duration {
        let validity = *self.tenure.validity.borrow();
        if validity.lost {
            Duration::ZERO
        } else {
            validity.until.left()
        }
    }

    /// Resolves when the lock is no longer surely held, which is before its expiry gives it to anybody
    /// else; also when the guard is released or dropped.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut validity = self.tenure.validity.subscribe();
        async move {
            // An error means that the guard is gone.
            let _ = validity.wait_for(|validity| validity.lost).await;
        }
    }

    /// Gives the lock back and waits until the service knows it.
    ///
    /// # Errors
    /// [`Error::Lost`] when the service says that it was over before. Any other kind when no server
    /// answers before the lease is over by itself.
    pub async fn release(mut self) -> Result<(), Error> {
        self.renewal.abort();
        // If this future is dropped here, the guard's drop goes on with it.
        let outcome = self.tenure.release().await;
        self.released = true;
        outcome
            .map_err(Failure::into_error)?
            .then_some(())
            .ok_or_else(|| self.tenure.lost())
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.renewal.abort();
        self.tenure.lose();
        if !self.released {
            let tenure = Arc::clone(&self.tenure);
            let release = async move {
                if let Err(failure) = tenure.release().await {
                    debug!(error = %failure.into_error(), "a lock was not released; its lease runs out by itself");
                }
            };
            self.runtime.spawn(release.in_current_span());
        }
    }
}

impl Tenure {
    /// Releases until a server answers or the lease is over; `false` if it was over before.
    async fn release(&self) -> Result<bool, Failure> {
        let path = self.key.path("release");
        let body = ReleaseBody::Tenure {
            lease_id: &self.lease_id,
            fencing_token: self.fencing_token.to_string(),
        };
        let timeout = self.client.transport.request_timeout;
        match self
            .client
            .transport
            .post::<ReleasedBody>(&path, &body, timeout)
            .await
        {
            Ok(answer) => return Ok(answer.released),
            Err(Failure::Refused(problem)) if !problem.retryable => {
                return Err(Failure::Refused(problem));
            }
            Err(_) => (),
        }
        // From the second time on, "it was over" may speak of the first.
        let until = self.validity.borrow().until + timeout;
        self.client
            .transport
            .post_until::<ReleasedBody>(&path, &body, until)
            .await
            .map(|_| true)
    }

    async fn keep_alive(&self, timeout: Duration) -> Result<KeptAliveBody, Failure> {
        let body = KeepAliveBody {
            lease_id: &self.lease_id,
        };
        self.client
            .transport
            .post(&self.key.path("keepalive"), &body, timeout)
            .await
    }

    fn lose(&self) {
        self.validity.send_modify(|validity| validity.lost = true);
    }

    fn lost(&self) -> Error {
        Error::Lost {
            key: self.key.as_str().to_owned(),
        }
    }
}

/// Renews every third of the TTL until the lock is lost; the guard's end aborts it.
async fn renew(tenure: Arc<Tenure>, ttl: Duration) {
    let mut ttl = ttl;
    let mut failures = 0;
    // A lease that was granted while it waited may be older than its TTL says.
    let left = tenure.validity.borrow().until.left();
    let mut next = Moment::now() + (ttl / 3).min(left / 2);
    loop {
        let until = tenure.validity.borrow().until;
        sleep_until(next.min(until)).await;
        let sent = Moment::now();
        if sent >= until {
            warn!(
                lock.renewals_failed = failures,
                "a lock was lost: no renewal came back in time"
            );
            return tenure.lose();
        }
        let timeout = tenure
            .client
            .transport
            .request_timeout
            .min(ttl / 3)
            .min(until.left());
        let span = info_span!(parent: None, "lock.keepalive", otel.kind = "client");
        let answer = tokio::select! {
            answer = tenure.keep_alive(timeout).instrument(span) => answer,
            // The request's own time-out stops during a suspend.
            () = sleep_until(until) => continue,
        };
        match answer {
            Ok(kept) => {
                ttl = Duration::from_millis(kept.ttl_ms);
                let until = sent + Duration::from_millis(kept.remaining_ms) - margin(ttl);
                tenure
                    .validity
                    .send_modify(|validity| validity.until = until);
                failures = 0;
                next = sent + ttl / 3;
            }
            Err(Failure::Refused(problem)) if problem.code == "lease-not-found" => {
                warn!("a lock was lost: the service knows its lease no more");
                return tenure.lose();
            }
            Err(failure) => {
                failures += 1;
                debug!(error = %failure.into_error(), lock.renewals_failed = failures, "a renewal failed");
                // Many tries before the lease is over, however short it is.
                next = Moment::now() + pause(failures).min(ttl / 10);
            }
        }
    }
}

/// What is given away for safety: clocks that run at different speeds, a scheduler that is late.
fn margin(ttl: Duration) -> Duration {
    (ttl / 20).max(Duration::from_millis(200))
}
