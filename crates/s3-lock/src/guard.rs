//! A lock held: it renews itself, and says when it is lost.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::{Mutex as AsyncMutex, watch},
    task::AbortHandle,
    time::sleep,
};

use crate::{
    bucket::Bucket,
    clock::{Moment, sleep_until},
    conditional::Conditional,
    error::Error,
    strategy::{Place, Strategy, sealed},
};

/// A lock held. Dropping the last guard of a tenure gives it back in the background, and at once when a
/// panic drops it; [`Guard::release`] waits for it.
#[must_use = "dropping the guard gives the lock back"]
pub struct Guard<S: Strategy = Conditional>(Arc<Tenancy<S>>);

/// What all guards of one tenure share; the last of them gives the lock back.
pub(crate) struct Tenancy<S: Strategy> {
    place: Arc<Place>,
    state: Arc<State<S>>,
    renewal: AbortHandle,
    settled: AtomicBool,
}

struct State<S: Strategy> {
    tenure: AsyncMutex<S::Tenure>,
    /// Until when the lock is surely ours.
    until: watch::Sender<Moment>,
    /// As it was granted.
    first: S::Tenure,
}

impl Guard<Conditional> {
    /// Grows with every grant of this lock: what a resource compares to refuse a holder of the past.
    pub fn fencing_token(&self) -> u64 {
        self.0.state.first.fencing_token
    }
}

impl<S: Strategy> Guard<S> {
    pub(crate) fn of(tenancy: Arc<Tenancy<S>>) -> Self {
        Self(tenancy)
    }

    /// The lock.
    pub fn key(&self) -> &str {
        &self.0.place.key
    }

    /// Whether the lock is surely held, as far as time tells. Ask before each step that needs it.
    pub fn is_valid(&self) -> bool {
        self.0.is_valid()
    }

    /// Time for which the lock is surely held even if no renewal succeeds any more.
    pub fn remaining(&self) -> Duration {
        self.0.state.remaining()
    }

    /// Resolves when the lock is no longer surely held, which is before its timeout gives it to anybody
    /// else; also when it is given back.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<S> {
        let mut until = self.0.state.until.subscribe();
        async move {
            loop {
                let end = *until.borrow_and_update();
                if end.left().is_zero() {
                    return;
                }
                tokio::select! {
                    () = sleep_until(end) => {}
                    changed = until.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    /// Another guard of the same tenure: the lock goes back with the last of them.
    pub fn again(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Gives the lock back and waits until the bucket says so. While other guards of the same tenure live,
    /// it stays theirs.
    ///
    /// # Errors
    /// [`Error::Lost`] when it was over before. [`Error::S3`] when S3 failed; the lock is then over after
    /// its timeout.
    pub async fn release(self) -> Result<(), Error> {
        let Some(tenancy) = Arc::into_inner(self.0) else {
            return Ok(());
        };
        // If this future is dropped here, the drop of `tenancy` goes on with it.
        tenancy.renewal.abort();
        let outcome = tenancy.give_back().await;
        tenancy.end();
        match outcome {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Lost {
                key: tenancy.place.key.clone(),
            }),
            Err(err) => Err(err),
        }
    }
}

impl<S: Strategy> Tenancy<S> {
    /// Must be called on a tokio runtime.
    pub(crate) fn begin(place: Arc<Place>, tenure: S::Tenure, sent: Moment) -> Arc<Self> {
        let state = Arc::new(State {
            first: tenure.clone(),
            tenure: AsyncMutex::new(tenure),
            until: watch::Sender::new(valid_until(&place, sent)),
        });
        let renewing = tokio::spawn(renew(Arc::clone(&place), Arc::clone(&state)));
        Arc::new(Self {
            place,
            state,
            renewal: renewing.abort_handle(),
            settled: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_valid(&self) -> bool {
        !self.state.remaining().is_zero()
    }

    /// Nothing is to be given back any more.
    pub(crate) fn end(&self) {
        self.settled.store(true, Ordering::Relaxed);
        self.renewal.abort();
        self.state.until.send_replace(Moment::now());
    }

    async fn give_back(&self) -> Result<bool, Error> {
        if self.settled.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let tenure = self.state.tenure.lock().await.clone();
        S::release(&self.place, tenure).await
    }
}

impl<S: Strategy> State<S> {
    fn remaining(&self) -> Duration {
        self.until.borrow().left()
    }
}

impl<S: Strategy> Drop for Tenancy<S> {
    fn drop(&mut self) {
        self.renewal.abort();
        if self.settled.load(Ordering::Relaxed) {
            return;
        }
        self.state.until.send_replace(Moment::now());
        let (place, state) = (Arc::clone(&self.place), Arc::clone(&self.state));
        match Handle::try_current() {
            Ok(runtime) if !thread::panicking() => {
                runtime.spawn(async move {
                    let tenure = state.tenure.lock().await.clone();
                    // What cannot be given back is over after its timeout.
                    let _ = S::release(&place, tenure).await;
                });
            }
            _ => give_back_here::<S>(&place, &state),
        }
    }
}

impl<S: Strategy> fmt::Debug for Guard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("key", &self.key())
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

/// Gives a lock back where no task would be run any more: on a thread, a runtime and connections of its
/// own.
fn give_back_here<S: Strategy>(place: &Place, state: &State<S>) {
    let Ok(tenure) = state.tenure.try_lock().map(|tenure| tenure.clone()) else {
        return;
    };
    let give_back = || {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let bucket = Bucket::new(place.bucket.options().clone()).ok()?;
        let place = Place {
            bucket,
            key: place.key.clone(),
            ..*place
        };
        runtime.block_on(S::release(&place, tenure)).ok()
    };
    // What cannot be given back is over after its timeout.
    thread::scope(|scope| drop(scope.spawn(give_back).join()));
}

/// Renews until the tenure is over.
async fn renew<S: Strategy>(place: Arc<Place>, state: Arc<State<S>>) {
    let mut pause = place.timeout / 3;
    loop {
        sleep(pause).await;
        if state.remaining().is_zero() {
            return;
        }
        let mut tenure = state.tenure.lock().await;
        let sent = Moment::now();
        match <S as sealed::Strategy>::renew(&place, tenure.clone()).await {
            Ok(Some(next)) => {
                *tenure = next;
                // What took longer than it gave is over already.
                state.until.send_replace(valid_until(&place, sent));
                pause = place.timeout / 3;
            }
            Ok(None) => {
                state.until.send_replace(Moment::now());
                return;
            }
            Err(_) => pause = place.timeout / 20,
        }
    }
}

/// Others wait for the whole timeout from when they saw the write that was sent then; the margin is for
/// clocks that do not run alike.
fn valid_until(place: &Place, sent: Moment) -> Moment {
    let margin = (place.timeout / 20).max(Duration::from_millis(200));
    sent.after(place.timeout.saturating_sub(margin))
}
