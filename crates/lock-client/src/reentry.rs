//! Locks that this client may take once more while it has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::clock::{Moment, sleep_until};
use crate::error::{Error, Held as HeldByUs};
use crate::guard::{Held, LockGuard};
use crate::key::Key;
use crate::options::AcquireOptions;

/// The latest tenure of one lock; whoever asks the service for another keeps others of us waiting.
type Place = tokio::sync::Mutex<Weak<Held>>;

/// Locks that were asked for as reentrant.
#[derive(Debug, Default)]
pub(crate) struct Reentries(Mutex<HashMap<String, Arc<Place>>>);

impl Reentries {
    /// The tenure that we have, or else the one that `ask` brings, in what is left of the wait.
    pub(crate) async fn acquire<F>(
        &self,
        key: &Key,
        options: &AcquireOptions,
        ask: impl FnOnce(Duration) -> F,
    ) -> Result<LockGuard, Error>
    where
        F: Future<Output = Result<LockGuard, Error>>,
    {
        let place = self.place(key);
        let until = Moment::now() + options.wait.max(Duration::from_millis(1));
        let mut latest = tokio::select! {
            latest = place.lock() => latest,
            // Somebody else of us asks, and has not got it.
            () = sleep_until(until) => return Err(Error::Held(HeldByUs::unknown(key))),
        };
        let ours = latest.upgrade().filter(|held| held.is_valid());
        if let Some(held) = ours.filter(|held| held.mode == options.mode) {
            return Ok(LockGuard::of(held));
        }
        let guard = ask(options.wait.min(until.left())).await?;
        *latest = Arc::downgrade(guard.shared());
        Ok(guard)
    }

    fn place(&self, key: &Key) -> Arc<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody holds or asks for any more.
        places.retain(|_, place| {
            let idle = Arc::strong_count(place) == 1;
            let held = place.try_lock().is_ok_and(|held| held.strong_count() > 0);
            !idle || held
        });
        let place = places.entry(key.as_str().to_owned()).or_default();
        Arc::clone(place)
    }
}
