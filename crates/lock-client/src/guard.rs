//! A lock held: it renews itself, and says when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::debug;

use crate::client::{Inner, LockClient};
use crate::clock::Moment;
use crate::error::Error;
use crate::key::Key;
use crate::lease::Lease;
use crate::options::Mode;
use crate::session::Opened;
use crate::transport::{Failure, Message, Transport};
use crate::wire::{OneBody, ReleaseBody, ReleasedBody};

/// A lock held. Dropping it gives the lock back in the background; [`LockGuard::release`] waits for it.
#[derive(Debug)]
#[must_use = "dropping the guard gives the lock back"]
pub struct LockGuard(Arc<Held>);

/// Who holds a lock from when on: enough to renew, verify or release it from anywhere, in this process
/// or in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// The lock.
    pub key: String,
    /// The lease behind it, or the session that carries it.
    pub lease_id: String,
    /// Grows with every grant of this lock.
    #[serde(with = "crate::wire::number_in_a_string")]
    pub fencing_token: u64,
    /// Tokens compare only within one epoch.
    pub token_epoch: String,
}

/// What all guards of one tenure share; the last of them gives the lock back.
#[derive(Debug)]
pub(crate) struct Held {
    client: Arc<Inner>,
    key: Key,
    pub(crate) mode: Mode,
    tenure: Tenure,
    note: Option<String>,
    lease: Arc<Lease>,
    /// Set when the lock hangs on a session, which may outlive it and lives at least as long.
    session: Option<Arc<Opened>>,
    /// Nothing is to be given back: it was, or somebody else will.
    settled: AtomicBool,
}

impl LockGuard {
    pub(crate) fn new(
        client: &Arc<Inner>,
        lock: (&Key, Mode),
        granted: OneBody,
        lease: Arc<Lease>,
        session: Option<Arc<Opened>>,
    ) -> Self {
        let (key, mode) = lock;
        let tenure = Tenure {
            key: key.as_str().to_owned(),
            lease_id: lease.id.clone(),
            fencing_token: granted.fencing_token,
            token_epoch: granted.token_epoch,
        };
        Self(Arc::new(Held {
            client: Arc::clone(client),
            key: key.clone(),
            mode,
            tenure,
            note: granted.note,
            lease,
            session,
            settled: AtomicBool::new(false),
        }))
    }

    pub(crate) fn of(held: Arc<Held>) -> Self {
        Self(held)
    }

    pub(crate) fn shared(&self) -> &Arc<Held> {
        &self.0
    }

    /// The lock.
    pub fn key(&self) -> &str {
        &self.0.tenure.key
    }

    /// Grows with every grant of this lock: what a resource compares to refuse a holder of the past.
    pub fn fencing_token(&self) -> u64 {
        self.0.tenure.fencing_token
    }

    /// Tokens compare only within one epoch: it changes when the service's store is restored or
    /// replaced.
    pub fn token_epoch(&self) -> &str {
        &self.0.tenure.token_epoch
    }

    /// Name of the lease behind the lock; whoever knows it can renew or release it.
    pub fn lease_id(&self) -> &str {
        &self.0.tenure.lease_id
    }

    /// All of these, to be handed to another process.
    pub fn tenure(&self) -> &Tenure {
        &self.0.tenure
    }

    /// What an earlier holder left with its release.
    pub fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }

    /// Whether the lock is surely held, as far as time tells. Ask before each step that needs it.
    pub fn is_valid(&self) -> bool {
        self.0.is_valid()
    }

    /// Time for which the lock is surely held even if no renewal succeeds any more.
    pub fn remaining(&self) -> Duration {
        self.0.lease.remaining()
    }

    /// Resolves when the lock is no longer surely held, which is before its expiry gives it to anybody
    /// else; also when the last guard is released or dropped, but for a lock of a session that does not
    /// check its locks: there it resolves with the session.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.lease.lost()
    }

    /// Asks the service whether this tenure is the current one, at some moment between the call and its
    /// answer. A resource that cannot compare tokens asks this before a write; it still may be late.
    ///
    /// # Errors
    /// The service did not answer.
    pub async fn verify(&self) -> Result<bool, Error> {
        let client = LockClient(Arc::clone(&self.0.client));
        client.verify(&self.0.tenure).await
    }

    /// Another guard of the same tenure: the lock goes back with the last of them.
    pub fn again(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Gives the lock back and waits until the service knows it. While other guards of the same tenure
    /// live, it stays theirs.
    ///
    /// # Errors
    /// [`Error::Lost`] when the service says that it was over before. Any other kind when no server
    /// answers before the lease is over by itself.
    pub async fn release(self) -> Result<(), Error> {
        self.give_back(None).await
    }

    /// Gives the lock back with a note of at most 1024 bytes for whoever acquires it next.
    ///
    /// # Errors
    /// As [`LockGuard::release`].
    pub async fn release_with_note(self, note: &str) -> Result<(), Error> {
        self.give_back(Some(note)).await
    }

    /// Does not give it back, and renews it no more once the other guards of this tenure are gone: the lease
    /// runs out, unless whoever got the tenure keeps it alive.
    pub fn hand_off(self) -> Tenure {
        self.0.settled.store(true, Ordering::Relaxed);
        self.0.tenure.clone()
    }

    /// There is no way to give it back.
    pub(crate) fn runs_out(&self) {
        self.0.settled.store(true, Ordering::Relaxed);
    }

    async fn give_back(self, note: Option<&str>) -> Result<(), Error> {
        let Some(held) = Arc::into_inner(self.0) else {
            return Ok(());
        };
        if held.settled.load(Ordering::Relaxed) {
            return Ok(());
        }
        // If this future is dropped here, the drop of `held` goes on with it.
        let message = release_message(&held.key, &held.tenure, note);
        held.stop();
        let outcome = release(&held.client.transport, &message, held.lease.until()).await;
        held.settled.store(true, Ordering::Relaxed);
        outcome
            .map_err(Failure::into_error)?
            .then_some(())
            .ok_or_else(|| Error::Lost {
                key: held.tenure.key.clone(),
            })
    }
}

impl Held {
    pub(crate) fn is_valid(&self) -> bool {
        !self.lease.remaining().is_zero()
    }

    /// Ends the renewal, if it is this lock's alone.
    fn stop(&self) {
        match &self.session {
            Some(session) if session.carries(&self.lease) => {}
            _ => self.lease.lose(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stop();
        if *self.settled.get_mut() {
            return;
        }
        let keeper = &self.client.keeper;
        let (transport, until) = (keeper.transport(), self.lease.until());
        let message = release_message(&self.key, &self.tenure, None);
        keeper.run(async move {
            if let Err(failure) = release(&transport, &message, until).await {
                debug!(error = %failure.into_error(), "a lock was not released; its lease runs out by itself");
            }
        });
    }
}

pub(crate) fn release_message(key: &Key, tenure: &Tenure, note: Option<&str>) -> Message {
    let body = ReleaseBody::Tenure {
        lease_id: &tenure.lease_id,
        fencing_token: tenure.fencing_token.to_string(),
        note,
    };
    Message::post(key.path("release"), &body)
}

/// Releases until a server answers or the lease is over; `false` if it was over before.
pub(crate) async fn release(
    transport: &Transport,
    message: &Message,
    lease_ends: Moment,
) -> Result<bool, Failure> {
    let until = lease_ends.max(Moment::now()) + transport.request_timeout;
    let mut unsure = false;
    let answer: ReleasedBody = transport.send_again(message, until, &mut unsure).await?;
    // "It was over" may speak of a try of ours that was heard and not answered.
    Ok(answer.released || unsure)
}
