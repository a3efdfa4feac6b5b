//! The client: the ways to ask for locks, and about them.

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::utf8_percent_encode;
use tracing::instrument;

use crate::acquire::{self, Anchor, One, alive};
use crate::clock::Moment;
use crate::error::Error;
use crate::events::EventStream;
use crate::guard::{LockGuard, Tenure, release_message};
use crate::keeper::Keeper;
use crate::key::{ENCODED, Key};
use crate::lease::{Lease, Purpose};
use crate::options::{AcquireOptions, ClientOptions, Mode, SessionOptions};
use crate::reentry::Reentries;
use crate::session::{self, Opened, Session};
use crate::transport::{Failure, Message, Transport};
use crate::view::{HolderView, LockView, Page};
use crate::wire::{
    ForcedBody, KeptAliveBody, KeyBody, OpenSessionBody, ReleasedBody, SessionBody, VerifiedBody,
    milliseconds,
};

/// A client of the lock service. Clones are cheap and share the connections, and the one task that
/// renews whatever is held.
#[derive(Debug, Clone)]
pub struct LockClient(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) transport: Transport,
    pub(crate) keeper: Keeper,
    pub(crate) holder: String,
    pub(crate) patience: Duration,
    reentries: Reentries,
}

impl LockClient {
    /// A client; nothing is sent yet. It starts the thread that will renew its locks.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        let transport = Transport::new(&options)?;
        let keeper =
            Keeper::start(Transport::new(&options)?).map_err(|error| Error::InvalidOption {
                option: "keepalive thread",
                reason: error.to_string(),
            })?;
        Ok(Self(Arc::new(Inner {
            transport,
            keeper,
            holder: options.holder,
            patience: options.patience,
            reentries: Reentries::default(),
        })))
    }

    /// Who we are: what others see when they ask who has a lock.
    pub fn holder(&self) -> &str {
        &self.0.holder
    }

    /// Takes a lock, or stands in its queue for at most `options.wait`. Dropping the future leaves the
    /// queue and gives back what was granted meanwhile.
    ///
    /// # Errors
    /// [`Error::Held`] when the wait is over and somebody else has the lock; any other kind when the
    /// service cannot tell. Whichever it is: nothing is held, or will be given back in the background.
    #[instrument(name = "lock.acquire", skip_all, fields(otel.kind = "client"))]
    pub async fn acquire(&self, key: &str, options: AcquireOptions) -> Result<LockGuard, Error> {
        let key = Key::parse(key)?;
        match options.reentrant {
            true => {
                let ask = async |wait| {
                    let options = options.clone();
                    self.ask(&key, &AcquireOptions { wait, ..options }).await
                };
                self.0.reentries.acquire(&key, &options, ask).await
            }
            false => self.ask(&key, &options).await,
        }
    }

    /// Takes a lock if it is free, without waiting: `options.wait` is not looked at.
    ///
    /// # Errors
    /// As [`LockClient::acquire`].
    pub async fn try_acquire(
        &self,
        key: &str,
        options: AcquireOptions,
    ) -> Result<LockGuard, Error> {
        self.acquire_timeout(key, Duration::ZERO, options).await
    }

    /// Takes a lock, or stands in its queue for at most `wait` instead of `options.wait`.
    ///
    /// # Errors
    /// As [`LockClient::acquire`].
    pub async fn acquire_timeout(
        &self,
        key: &str,
        wait: Duration,
        options: AcquireOptions,
    ) -> Result<LockGuard, Error> {
        self.acquire(key, AcquireOptions { wait, ..options }).await
    }

    /// Takes several locks or none: 1–30, each in its mode, the guards in their order. It does not
    /// queue, it tries again whenever one of them changes, until `options.wait` is over, and may starve.
    /// The locks hang on one session, which ends when the last guard is gone.
    ///
    /// # Errors
    /// As [`LockClient::acquire`]; [`Error::Held`] names one that was held.
    #[instrument(name = "lock.acquire_all", skip_all, fields(otel.kind = "client"))]
    pub async fn acquire_all(
        &self,
        locks: &[(&str, Mode)],
        options: AcquireOptions,
    ) -> Result<Vec<LockGuard>, Error> {
        let asked = acquire::acquire_all(&self.0, locks, &options, Anchor::Own);
        let (sent, locks, granted) = asked.await?;
        let session = SessionBody {
            session_id: granted.session_id.clone(),
            life: granted.life,
        };
        let session = Opened::new(&self.0, sent, session, true);
        session.guards(&locks, sent, granted)
    }

    /// Opens a session: one lease that carries many locks, which live and end together.
    ///
    /// # Errors
    /// When the service does not open one.
    #[instrument(name = "lock.open_session", skip_all, fields(otel.kind = "client"))]
    pub async fn open_session(&self, options: SessionOptions) -> Result<Session, Error> {
        let body = OpenSessionBody {
            holder: &self.0.holder,
            ttl_ms: milliseconds(options.ttl),
        };
        let message = Message::post("/v1/sessions", &body);
        acquire::runtime()?;
        let patience = Moment::now() + self.0.patience;
        loop {
            let sent = Moment::now();
            let timeout = self.0.transport.request_timeout;
            // One whose answer got lost runs out by itself: nothing hangs on it.
            let failure = match self.0.transport.send(&message, timeout).await {
                Ok(answer) => {
                    let opened = Opened::new(&self.0, sent, answer, options.check_locks);
                    return Ok(Session::new(opened));
                }
                Err(failure) => failure,
            };
            let refused = matches!(&failure, Failure::Refused(problem) if !problem.retryable);
            if refused || patience.left().is_zero() {
                return Err(failure.into_error());
            }
            tokio::time::sleep(crate::transport::pause(1)).await;
        }
    }

    /// Takes over a session that was [handed off](Session::hand_off): renews it now and from then on.
    ///
    /// # Errors
    /// [`Error::Lost`] when it is over, with the session's name as key.
    pub async fn adopt_session(&self, id: &str, options: SessionOptions) -> Result<Session, Error> {
        let renewal = session::renewal(id);
        let sent = Moment::now();
        match self.call::<SessionBody>(&renewal).await {
            Ok(answer) => {
                let opened = Opened::new(&self.0, sent, answer, options.check_locks);
                Ok(Session::new(opened))
            }
            Err(Error::Server(problem)) if problem.says_gone() => {
                Err(Error::Lost { key: id.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a session, whoever opened it: all its locks are given back. `false` when it was over already.
    ///
    /// # Errors
    /// The service did not answer.
    pub async fn end_session(&self, id: &str) -> Result<bool, Error> {
        let ended = self.call::<ReleasedBody>(&session::end_message(id)).await?;
        Ok(ended.released)
    }

    /// Renews a lease by hand, if it holds this lock, and tells how much of it is left. A guard does
    /// this by itself; this is for a tenure that was [handed off](LockGuard::hand_off).
    ///
    /// # Errors
    /// [`Error::Lost`] when the lease does not hold the lock.
    pub async fn keep_alive(&self, key: &str, lease_id: &str) -> Result<Duration, Error> {
        let message = Message::keepalive(&Key::parse(key)?, lease_id);
        match self.call::<KeptAliveBody>(&message).await {
            Ok(kept) => Ok(Duration::from_millis(kept.remaining_ms)),
            Err(Error::Server(problem)) if problem.says_gone() => Err(Error::Lost {
                key: key.to_owned(),
            }),
            Err(error) => Err(error),
        }
    }

    /// Takes over a tenure that was [handed off](LockGuard::hand_off): renews it now and from then on.
    ///
    /// # Errors
    /// [`Error::Lost`] when it is over.
    pub async fn adopt(&self, tenure: &Tenure) -> Result<LockGuard, Error> {
        let key = Key::parse(&tenure.key)?;
        let sent = Moment::now();
        let renewal = Message::keepalive(&key, &tenure.lease_id);
        let lost = || Error::Lost {
            key: tenure.key.clone(),
        };
        if !self.verify(tenure).await? {
            return Err(lost());
        }
        let kept = match self.call::<KeptAliveBody>(&renewal).await {
            Ok(kept) => kept,
            Err(Error::Server(problem)) if problem.says_gone() => return Err(lost()),
            Err(error) => return Err(error),
        };
        let life = kept.since(sent);
        let purpose = Purpose::Lock(key.clone(), tenure.fencing_token);
        let lease = Lease::kept_by(&self.0.keeper, tenure.lease_id.clone(), life, purpose);
        let granted = tenure.into();
        alive(LockGuard::new(
            &self.0,
            (&key, Mode::Exclusive),
            granted,
            lease,
            None,
        ))
    }

    /// Whether a tenure is the current one, at some moment between the call and its answer. Never told
    /// from memory.
    ///
    /// # Errors
    /// The service did not answer.
    pub async fn verify(&self, tenure: &Tenure) -> Result<bool, Error> {
        let key = Key::parse(&tenure.key)?;
        let message = release_message(&key, tenure, None).to(key.path("verify"));
        let verified = self.call::<VerifiedBody>(&message).await?;
        Ok(verified.current)
    }

    /// Gives a lock back if this tenure still has it, whoever holds the guard: another process, or this
    /// one before it was started again. `false` when it was over already; a later tenure stays as it is.
    ///
    /// # Errors
    /// The service did not answer.
    pub async fn remove_if_owner(&self, tenure: &Tenure) -> Result<bool, Error> {
        let message = release_message(&Key::parse(&tenure.key)?, tenure, None);
        let released = self.call::<ReleasedBody>(&message).await?;
        Ok(released.released)
    }

    /// Who has a lock, and who waits for it.
    ///
    /// # Errors
    /// The service did not answer.
    pub async fn inspect(&self, key: &str) -> Result<LockView, Error> {
        let (key, reason) = (Key::parse(key)?, None);
        let body = KeyBody {
            key: key.as_str(),
            reason,
        };
        self.call(&Message::post("/v1/locks:inspect", &body)).await
    }

    /// Locks that somebody holds or waits for, whose keys begin with `prefix`: at most `limit` (1–500),
    /// from [`Page::next`] of the page before on.
    ///
    /// # Errors
    /// The service did not answer.
    pub async fn list(
        &self,
        prefix: &str,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page, Error> {
        let prefix = utf8_percent_encode(prefix, ENCODED);
        let mut path = format!("/v1/locks?prefix={prefix}&limit={limit}");
        if let Some(cursor) = cursor {
            path = format!("{path}&cursor={}", utf8_percent_encode(cursor, ENCODED));
        }
        self.call(&Message::get(path)).await
    }

    /// Takes a lock from all its holders, who are lost at their next renewal. It is an administrator's
    /// word: what they do meanwhile is stopped by the fencing token alone.
    ///
    /// # Errors
    /// The service did not do it.
    pub async fn force_release(&self, key: &str, reason: &str) -> Result<Vec<HolderView>, Error> {
        let (key, reason) = (Key::parse(key)?, Some(reason));
        let body = KeyBody {
            key: key.as_str(),
            reason,
        };
        let message = Message::post("/v1/locks:force-release", &body);
        let forced = self.call::<ForcedBody>(&message).await?;
        Ok(forced.released)
    }

    /// What happens to one lock from now on.
    ///
    /// # Errors
    /// No server opened the stream.
    pub async fn watch(&self, key: &str) -> Result<EventStream, Error> {
        let key = utf8_percent_encode(Key::parse(key)?.as_str(), ENCODED).to_string();
        self.events(format!("/v1/events?key={key}")).await
    }

    /// What happens from now on to all locks whose keys begin with `prefix`.
    ///
    /// # Errors
    /// No server opened the stream.
    pub async fn watch_prefix(&self, prefix: &str) -> Result<EventStream, Error> {
        let prefix = utf8_percent_encode(prefix, ENCODED);
        self.events(format!("/v1/events?prefix={prefix}")).await
    }

    /// Whether one of the servers is ready: asks all of them at once.
    ///
    /// # Errors
    /// What the last of them answered instead.
    pub async fn ready(&self) -> Result<(), Error> {
        acquire::runtime()?;
        self.0.transport.ready().await
    }

    /// Waits until what was dropped before is given back: the last thing that a program does. `false` when
    /// that takes longer than `within`, or when guards or other clones of this client live.
    pub async fn close(self, within: Duration) -> bool {
        match Arc::into_inner(self.0) {
            Some(inner) => tokio::time::timeout(within, inner.keeper.finish())
                .await
                .is_ok(),
            None => false,
        }
    }

    async fn ask(&self, key: &Key, options: &AcquireOptions) -> Result<LockGuard, Error> {
        let ask = One {
            key,
            options,
            anchor: Anchor::Own,
        };
        let (sent, granted) = acquire::acquire(&self.0, &ask).await?;
        let (id, life) = (granted.lease_id.clone(), granted.life.since(sent));
        let purpose = Purpose::Lock(key.clone(), granted.fencing_token);
        let lease = Lease::kept_by(&self.0.keeper, id, life, purpose);
        let lock = (key, options.mode);
        alive(LockGuard::new(&self.0, lock, granted.into(), lease, None))
    }

    async fn events(&self, path: String) -> Result<EventStream, Error> {
        acquire::runtime()?;
        let opened = self.0.transport.open(&Message::get(path)).await;
        Ok(EventStream::new(opened.map_err(Failure::into_error)?))
    }

    /// A call that is safe to repeat, for as long as patience lasts.
    async fn call<A: serde::de::DeserializeOwned>(&self, message: &Message) -> Result<A, Error> {
        acquire::runtime()?;
        let transport = &self.0.transport;
        let until = Moment::now() + self.0.patience.max(transport.request_timeout);
        let answer = transport.send_until(message, until).await;
        answer.map_err(Failure::into_error)
    }
}
