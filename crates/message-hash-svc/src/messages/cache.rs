//! What was looked up lately, bounded in bytes; and look-ups that are under way, shared.
//!
//! A look-up may have begun before a message was posted or deleted, and end after it. So each
//! change moves the epoch of its digest's stripe, and what a look-up found is kept, and is shared
//! with callers that came later, only while the epoch is the one that it began under.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync;
use tokio::sync::watch;

use crate::digest::Digest;
use crate::message::Shown;
use crate::messages::{Lookup, MessageError};

/// Enough that two digests rarely meet in one.
const STRIPES: usize = 256;

/// A message of more than this part of the cache would push out too many others.
const LARGEST_PART: usize = 16;

/// Memory that an entry takes beside its message.
const OVERHEAD: usize = 128;

/// How many messages to make room for at first.
const EXPECTED_BYTES: usize = 1024;

pub(super) type Answer = Result<Lookup, MessageError>;

/// Look-ups, those that are done and those under way.
pub(super) struct Cache {
    done: Option<sync::Cache<Digest, Cached, Weight>>,
    largest: usize,
    max_age: Option<Duration>,
    stripes: Vec<Mutex<Stripe>>,
}

/// How much the cache holds, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct CacheLimits {
    /// Bytes of memory; 0 is no cache.
    pub bytes: usize,
    /// How long it may answer without asking the store; needed where somebody else can delete.
    pub max_age: Option<Duration>,
}

#[derive(Clone)]
struct Cached {
    shown: Arc<Shown>,
    since: Instant,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Digest, Cached> for Weight {
    fn weight(&self, _: &Digest, cached: &Cached) -> u64 {
        weight(&cached.shown) as u64
    }
}

#[derive(Default)]
struct Stripe {
    epoch: u64,
    flights: HashMap<Digest, Flight>,
}

/// A look-up under way: the epoch that it began under, and where its answer will be.
struct Flight {
    epoch: u64,
    answer: watch::Receiver<Option<Answer>>,
}

/// What a caller that found nothing in the cache has to do.
pub(super) enum Turn {
    /// Wait for a look-up that somebody else began.
    Wait(Pending),
    /// Look it up, and wait like the others.
    Lead(Lead, Pending),
}

/// An answer that will come.
pub(super) struct Pending(watch::Receiver<Option<Answer>>);

/// The duty to answer all who wait for a digest.
pub(super) struct Lead {
    cache: Arc<Cache>,
    digest: Digest,
    epoch: u64,
    answer: watch::Sender<Option<Answer>>,
}

impl Cache {
    pub(super) fn new(limits: CacheLimits) -> Self {
        let done = (limits.bytes > 0).then(|| {
            let items = (limits.bytes / EXPECTED_BYTES).max(16);
            sync::Cache::with_weighter(items, limits.bytes as u64, Weight)
        });
        Self {
            done,
            largest: limits.bytes / LARGEST_PART,
            max_age: limits.max_age,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    /// The message, if it was looked up lately and has not ended since.
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<Shown>> {
        let cached = self.done.as_ref()?.get(digest)?;
        let is_old = self
            .max_age
            .is_some_and(|max_age| cached.since.elapsed() >= max_age);
        (!is_old && !cached.shown.expiry.has_passed()).then_some(cached.shown)
    }

    /// Joins the look-up of `digest` that is under way, or begins one.
    pub(super) fn join(self: &Arc<Self>, digest: &Digest) -> Turn {
        let mut stripe = self.stripe(digest);
        let epoch = stripe.epoch;
        if let Some(flight) = stripe.flights.get(digest)
            && flight.epoch == epoch
            && !flight.is_abandoned()
        {
            return Turn::Wait(Pending(flight.answer.clone()));
        }
        let (sender, receiver) = watch::channel(None);
        let pending = Pending(receiver.clone());
        let flight = Flight {
            epoch,
            answer: receiver,
        };
        stripe.flights.insert(*digest, flight);
        let lead = Lead {
            cache: Arc::clone(self),
            digest: *digest,
            epoch,
            answer: sender,
        };
        Turn::Lead(lead, pending)
    }

    /// A message was posted or deleted: what look-ups found before says nothing any more.
    ///
    /// To be called after the change is durable and before anybody is told of it.
    pub(super) fn changed(&self, digest: &Digest) {
        let mut stripe = self.stripe(digest);
        stripe.epoch += 1;
        if let Some(done) = &self.done {
            done.remove(digest);
        }
    }

    /// Any message may have been deleted: nothing that look-ups found before says anything any more.
    pub(super) fn all_changed(&self) {
        for stripe in &self.stripes {
            stripe.lock().unwrap_or_else(PoisonError::into_inner).epoch += 1;
        }
        if let Some(done) = &self.done {
            done.clear();
        }
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> u64 {
        self.done.as_ref().map_or(0, sync::Cache::weight)
    }

    fn stripe(&self, digest: &Digest) -> MutexGuard<'_, Stripe> {
        let place = usize::from(digest.as_bytes()[31]) % STRIPES;
        self.stripes[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Whether nobody is left to answer.
    fn is_abandoned(&self) -> bool {
        self.answer.borrow().is_none() && self.answer.has_changed().is_err()
    }
}

impl Pending {
    /// The answer; an error when whoever looked it up is gone.
    pub(super) async fn answer(mut self) -> Answer {
        match self.0.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or(Err(MessageError::Abandoned)),
            Err(_) => Err(MessageError::Abandoned),
        }
    }
}

impl Lead {
    /// Answers all who wait, and keeps what was found if nothing changed meanwhile.
    pub(super) fn finish(self, answer: Answer) {
        let mut stripe = self.cache.stripe(&self.digest);
        let is_current = stripe.epoch == self.epoch;
        if is_current
            && let Ok(Lookup::Found(shown)) = &answer
            && let Some(done) = &self.cache.done
            && weight(shown) <= self.cache.largest
        {
            let shown = Arc::clone(shown);
            let since = Instant::now();
            done.insert(self.digest, Cached { shown, since });
        }
        // A later look-up may have taken its place.
        if stripe
            .flights
            .get(&self.digest)
            .is_some_and(|flight| flight.epoch == self.epoch)
        {
            stripe.flights.remove(&self.digest);
        }
        drop(stripe);
        self.answer.send_replace(Some(answer));
    }
}

fn weight(shown: &Shown) -> usize {
    shown.weight() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::Expiry;

    fn cache(max_age: Option<Duration>) -> Arc<Cache> {
        let bytes = 1 << 20;
        Arc::new(Cache::new(CacheLimits { bytes, max_age }))
    }

    fn found(digest: Digest) -> Answer {
        let body = Bytes::from_static(b"foo");
        let shown = Shown::new(digest, body, Expiry::Never);
        Ok(Lookup::Found(Arc::new(shown)))
    }

    fn lead(cache: &Arc<Cache>, digest: &Digest) -> (Lead, Pending) {
        match cache.join(digest) {
            Turn::Lead(lead, pending) => (lead, pending),
            Turn::Wait(_) => panic!("somebody else looks it up"),
        }
    }

    #[tokio::test]
    async fn callers_of_one_moment_share_one_look_up() {
        let (cache, digest) = (cache(None), Digest::of(b"foo"));
        let (lead, pending) = lead(&cache, &digest);
        let others: Vec<_> = (0..3).map(|_| cache.join(&digest)).collect();
        lead.finish(found(digest));
        assert!(matches!(pending.answer().await, Ok(Lookup::Found(_))));
        for other in others {
            let Turn::Wait(pending) = other else {
                panic!("a second look-up");
            };
            assert!(matches!(pending.answer().await, Ok(Lookup::Found(_))));
        }
        assert!(cache.get(&digest).is_some());
    }

    #[tokio::test]
    async fn what_began_before_a_change_is_not_kept_and_not_shared() {
        let (cache, digest) = (cache(None), Digest::of(b"foo"));
        let (before, pending) = lead(&cache, &digest);
        cache.changed(&digest);
        let (after, _) = lead(&cache, &digest);
        before.finish(found(digest));
        assert!(pending.answer().await.is_ok());
        assert!(cache.get(&digest).is_none());
        // The end of the old one did not take the new one's place.
        assert!(matches!(cache.join(&digest), Turn::Wait(_)));
        after.finish(found(digest));
        assert!(cache.get(&digest).is_some());
        cache.changed(&digest);
        assert!(cache.get(&digest).is_none());
    }

    #[tokio::test]
    async fn a_look_up_that_is_given_up_blocks_nobody() {
        let (cache, digest) = (cache(None), Digest::of(b"foo"));
        let (given_up, pending) = lead(&cache, &digest);
        drop(given_up);
        assert!(matches!(
            pending.answer().await,
            Err(MessageError::Abandoned)
        ));
        lead(&cache, &digest).0.finish(found(digest));
        assert!(cache.get(&digest).is_some());
    }

    #[test]
    fn what_is_older_than_the_cache_may_answer_is_asked_for_again() {
        let (cache, digest) = (cache(Some(Duration::ZERO)), Digest::of(b"foo"));
        lead(&cache, &digest).0.finish(found(digest));
        assert!(cache.get(&digest).is_none());
    }
}
