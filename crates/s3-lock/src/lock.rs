//! A lock as one instance sees it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::{Mutex as AsyncMutex, OnceCell},
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    bucket::{Bucket, S3Error},
    conditional::Conditional,
    error::{Error, Step},
    guard::{Guard, Tenancy},
    strategy::{Claimed, Place, Sight, Strategy, sealed},
};

/// Pause between the looks at a lock that somebody else has, at least.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// What the pauses grow to while somebody waits: it bounds what many waiters ask of S3.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// One instance's view of a lock: its UUID is the owner, and whoever shares the instance shares the lock.
///
/// Clones are the same instance.
pub struct S3Lock<S: Strategy = Conditional>(Arc<Inner<S>>);

pub(crate) struct Inner<S: Strategy> {
    place: Arc<Place>,
    fit: OnceCell<()>,
    /// Held while the lock is being taken: an instance competes once.
    turn: AsyncMutex<Sight>,
    tenancy: Mutex<Weak<Tenancy<S>>>,
}

impl<S: Strategy> S3Lock<S> {
    /// The lock `key` in a bucket, with a new owner. It is over when its owner was silent for `timeout`, of
    /// one second to a day. Nothing is asked of the bucket yet.
    ///
    /// # Errors
    /// [`Error::Option`] when the key or the timeout cannot be used.
    pub fn new(bucket: Bucket, key: impl Into<String>, timeout: Duration) -> Result<Self, Error> {
        let key = key.into();
        check_key(&key)?;
        let most = Duration::from_secs(24 * 60 * 60);
        if !(Duration::from_secs(1)..=most).contains(&timeout) {
            let why = format!("{timeout:?} is not between 1 s and 24 h");
            return Err(Error::Option("timeout", why));
        }
        Ok(Self(Arc::new(Inner {
            place: Arc::new(Place {
                bucket,
                key,
                owner: Uuid::new_v4(),
                timeout,
            }),
            fit: OnceCell::new(),
            turn: AsyncMutex::default(),
            tenancy: Mutex::default(),
        })))
    }

    /// The lock.
    pub fn key(&self) -> &str {
        &self.0.place.key
    }

    /// The name of this instance in the bucket.
    pub fn owner(&self) -> Uuid {
        self.0.place.owner
    }

    /// Takes the lock, however long others have it. While this instance holds it already, the guard is one
    /// more of the same tenure.
    ///
    /// # Errors
    /// S3 failed at a step. [`Error::Unfit`] when nothing can be locked in this bucket.
    pub async fn acquire(&self) -> Result<Guard<S>, Error> {
        self.acquire_until(None).await
    }

    /// Takes the lock if that is possible within `wait`; a zero wait tries once.
    ///
    /// # Errors
    /// [`Error::Held`] when it was not to be had in time; else as [`S3Lock::acquire`].
    pub async fn acquire_timeout(&self, wait: Duration) -> Result<Guard<S>, Error> {
        self.acquire_until(Some(Instant::now() + wait)).await
    }

    /// Takes the lock if nobody else has it.
    ///
    /// # Errors
    /// [`Error::Held`] when somebody has; else as [`S3Lock::acquire`].
    pub async fn try_acquire(&self) -> Result<Guard<S>, Error> {
        self.acquire_timeout(Duration::ZERO).await
    }

    /// Does something under the lock, and gives it back on every way out: also when `work` panics, which
    /// goes on afterwards.
    ///
    /// # Errors
    /// As [`S3Lock::acquire`]; and [`Error::Lost`] when the lock was over before the work was.
    pub async fn run<T>(&self, work: impl AsyncFnOnce(&Guard<S>) -> T) -> Result<T, Error> {
        let guard = self.acquire().await?;
        let done = AssertUnwindSafe(work(&guard)).catch_unwind().await;
        let given_back = guard.release().await;
        match done {
            Ok(done) => given_back.map(|()| done),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Removes whatever in the bucket says that this instance has the lock, guards or none; whether there
    /// was anything. It is for the end of a program, beside its guards: they are lost by it.
    ///
    /// # Errors
    /// S3 failed at a step.
    pub async fn remove_if_owner(&self) -> Result<bool, Error> {
        let _nobody_claims = self.0.turn.lock().await;
        if let Some(tenancy) = self.0.tenancy() {
            tenancy.end();
        }
        S::remove(&self.0.place).await
    }

    async fn acquire_until(&self, deadline: Option<Instant>) -> Result<Guard<S>, Error> {
        let inner = &self.0;
        inner.fit.get_or_try_init(|| S::probe(&inner.place)).await?;
        let mut sight = inner.turn.lock().await;
        if let Some(guard) = inner.again() {
            return Ok(guard);
        }
        let mut longest = SHORTEST_PAUSE * 2;
        loop {
            let held = match <S as sealed::Strategy>::claim(&inner.place, &mut sight).await {
                Ok(Claimed::Won(tenure, sent)) => {
                    let guard = inner.begin(tenure, sent);
                    if guard.is_valid() {
                        return Ok(guard);
                    }
                    // It was paused for longer than the lock lives.
                    drop(guard);
                    place_held(&inner.place)
                }
                Ok(Claimed::Held(held)) => held,
                // Nobody knows what became of a claim: the next look finds it, or overtakes it.
                Err(Error::S3 {
                    step: step @ (Step::Claim | Step::Confirm),
                    source: source @ S3Error::Unknown(_),
                }) => match deadline {
                    Some(deadline) if Instant::now() < deadline => place_held(&inner.place),
                    _ => return Err(Error::S3 { step, source }),
                },
                Err(err) => return Err(err),
            };
            longest = (longest * 2).min(LONGEST_PAUSE);
            let pause = rand::random_range(SHORTEST_PAUSE..longest);
            let pause = pause.min(held.remaining.max(SHORTEST_PAUSE));
            if deadline.is_some_and(|deadline| Instant::now() + pause > deadline) {
                return Err(Error::Held(held));
            }
            sleep(pause).await;
        }
    }
}

impl<S: Strategy> Inner<S> {
    fn tenancy(&self) -> Option<Arc<Tenancy<S>>> {
        let tenancy = self.tenancy.lock();
        tenancy.unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// One more guard of a tenure that lives.
    fn again(&self) -> Option<Guard<S>> {
        let tenancy = self.tenancy()?;
        tenancy.is_valid().then(|| Guard::of(tenancy))
    }

    fn begin(&self, tenure: S::Tenure, sent: crate::clock::Moment) -> Guard<S> {
        let tenancy = Tenancy::begin(Arc::clone(&self.place), tenure, sent);
        let mut known = self.tenancy.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Arc::downgrade(&tenancy);
        Guard::of(tenancy)
    }
}

impl<S: Strategy> Clone for S3Lock<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Strategy> fmt::Debug for S3Lock<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Lock")
            .field("key", &self.key())
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}

fn place_held(place: &Place) -> crate::Held {
    place.held("", Duration::ZERO)
}

fn check_key(key: &str) -> Result<(), Error> {
    let wrong = |why: &str| Err(Error::Option("key", format!("`{key}` {why}")));
    match key {
        _ if !(1..=512).contains(&key.len()) => wrong("is not of 1 to 512 bytes"),
        _ if key.chars().any(char::is_control) => wrong("has a control character in it"),
        _ if key.split('/').any(|part| matches!(part, "" | "." | "..")) => {
            wrong("has a part between its `/` that is empty, `.` or `..`")
        }
        _ => Ok(()),
    }
}
