//! A session: one lease that carries many locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use percent_encoding::utf8_percent_encode;
use tracing::{debug, instrument};

use crate::acquire::{self, Anchor, One, alive};
use crate::client::Inner;
use crate::clock::Moment;
use crate::error::Error;
use crate::guard::{LockGuard, release};
use crate::key::{ENCODED, Key};
use crate::lease::{Lease, Life, Purpose};
use crate::options::{AcquireOptions, Mode};
use crate::transport::{Failure, Message};
use crate::wire::{AllAcquiredBody, OneBody, SessionBody};

/// A session: locks that live and end together. It ends when it, and every guard of it, is dropped, or
/// by [`Session::end`].
#[derive(Debug)]
pub struct Session(Arc<Opened>);

/// A session of the service that is kept alive here.
#[derive(Debug)]
pub(crate) struct Opened {
    client: Arc<Inner>,
    lease: Arc<Lease>,
    check_locks: bool,
    /// Nothing is to be ended any more.
    settled: AtomicBool,
}

impl Session {
    pub(crate) fn new(opened: Arc<Opened>) -> Self {
        Self(opened)
    }

    /// Name of the session; whoever knows it can keep it alive or end it.
    pub fn id(&self) -> &str {
        &self.0.lease.id
    }

    /// Time for which the session surely lives even if no renewal succeeds any more.
    pub fn remaining(&self) -> Duration {
        self.0.lease.remaining()
    }

    /// Resolves when the session, and every lock of it, is no longer surely held.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.lease.lost()
    }

    /// Takes a lock in this session, as [`LockClient::acquire`](crate::LockClient::acquire) does without
    /// one; `options.ttl` is not looked at.
    ///
    /// # Errors
    /// As there; and `409 deadlock` when the session would wait for itself.
    #[instrument(name = "lock.acquire", skip_all, fields(otel.kind = "client"))]
    pub async fn acquire(&self, key: &str, options: AcquireOptions) -> Result<LockGuard, Error> {
        let key = Key::parse(key)?;
        let ask = One {
            key: &key,
            options: &options,
            anchor: Anchor::Session(self.id()),
        };
        let (sent, granted) = acquire::acquire(&self.0.client, &ask).await?;
        let life = granted.life.since(sent);
        alive(self.0.guard(&key, options.mode, life, granted.into()))
    }

    /// Takes a lock in this session if it is free, without waiting.
    ///
    /// # Errors
    /// As [`Session::acquire`].
    pub async fn try_acquire(
        &self,
        key: &str,
        options: AcquireOptions,
    ) -> Result<LockGuard, Error> {
        let wait = Duration::ZERO;
        self.acquire(key, AcquireOptions { wait, ..options }).await
    }

    /// Takes several locks or none, in this session.
    ///
    /// # Errors
    /// As [`LockClient::acquire_all`](crate::LockClient::acquire_all).
    #[instrument(name = "lock.acquire_all", skip_all, fields(otel.kind = "client"))]
    pub async fn acquire_all(
        &self,
        locks: &[(&str, Mode)],
        options: AcquireOptions,
    ) -> Result<Vec<LockGuard>, Error> {
        let anchor = Anchor::Session(self.id());
        let asked = acquire::acquire_all(&self.0.client, locks, &options, anchor);
        let (sent, locks, granted) = asked.await?;
        self.0.guards(&locks, sent, granted)
    }

    /// Renews it no more and does not end it, once its guards are gone: it runs out, unless whoever got the
    /// name keeps it alive. The name.
    pub fn hand_off(self) -> String {
        self.0.settled.store(true, Ordering::Relaxed);
        self.0.lease.id.clone()
    }

    /// Ends the session and waits until the service knows it: all its locks are given back.
    ///
    /// # Errors
    /// [`Error::Lost`] when it was over before, with the session's name as key. Any other kind when no
    /// server answers before it is over by itself.
    pub async fn end(self) -> Result<(), Error> {
        let opened = &self.0;
        opened.lease.end();
        let message = end_message(&opened.lease.id);
        let outcome = release(&opened.client.transport, &message, opened.lease.until()).await;
        opened.settled.store(true, Ordering::Relaxed);
        outcome
            .map_err(Failure::into_error)?
            .then_some(())
            .ok_or_else(|| Error::Lost {
                key: opened.lease.id.clone(),
            })
    }
}

impl Opened {
    /// What the service answered to a request of `sent`.
    pub(crate) fn new(
        client: &Arc<Inner>,
        sent: Moment,
        answer: SessionBody,
        check_locks: bool,
    ) -> Arc<Self> {
        let (id, life) = (answer.session_id, answer.life.since(sent));
        Arc::new(Self {
            client: Arc::clone(client),
            lease: Lease::kept_by(&client.keeper, id, life, Purpose::Session),
            check_locks,
            settled: AtomicBool::new(false),
        })
    }

    /// A guard of a lock that was granted in this session.
    pub(crate) fn guard(
        self: &Arc<Self>,
        key: &Key,
        mode: Mode,
        life: Life,
        granted: OneBody,
    ) -> LockGuard {
        let lease = if self.check_locks {
            let id = self.lease.id.clone();
            let purpose = Purpose::Lock(key.clone(), granted.fencing_token);
            Lease::kept_by(&self.client.keeper, id, life, purpose)
        } else {
            Arc::clone(&self.lease)
        };
        let session = Some(Arc::clone(self));
        LockGuard::new(&self.client, (key, mode), granted, lease, session)
    }

    /// Guards of locks that were granted together, in their order.
    pub(crate) fn guards(
        self: &Arc<Self>,
        locks: &[(Key, Mode)],
        sent: Moment,
        granted: AllAcquiredBody,
    ) -> Result<Vec<LockGuard>, Error> {
        let life = granted.life.since(sent);
        let one = |((key, mode), granted): (&(Key, Mode), _)| {
            alive(self.guard(key, *mode, life, granted))
        };
        let granted = granted.tenures();
        locks.iter().zip(granted).map(one).collect()
    }

    /// Whether `lease` is the session's own.
    pub(crate) fn carries(&self, lease: &Arc<Lease>) -> bool {
        Arc::ptr_eq(&self.lease, lease)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.lease.lose();
        if *self.settled.get_mut() {
            return;
        }
        let keeper = &self.client.keeper;
        let (transport, until) = (keeper.transport(), self.lease.until());
        let message = end_message(&self.lease.id);
        keeper.run(async move {
            if let Err(failure) = release(&transport, &message, until).await {
                debug!(error = %failure.into_error(), "a session was not ended; it runs out by itself");
            }
        });
    }
}

pub(crate) fn renewal(id: &str) -> Message {
    let id = utf8_percent_encode(id, ENCODED);
    let path = format!("/v1/sessions/{id}/keepalive");
    Message::post(path, &serde_json::json!({}))
}

pub(crate) fn end_message(id: &str) -> Message {
    let id = utf8_percent_encode(id, ENCODED);
    Message::delete(format!("/v1/sessions/{id}"))
}
