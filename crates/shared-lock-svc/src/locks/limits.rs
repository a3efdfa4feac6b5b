//! What one holder may ask for at once. Whoever says who it is says so freely: the limits stop a
//! program that has run wild, not one that means harm.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{LockError, Rules, holdings::Holdings};
use crate::lease::{FencingToken, Holder, LockKey};

/// The limits, and how much of them is used.
pub(super) struct Limits {
    waiters: usize,
    waiting: Arc<Mutex<HashMap<Holder, usize>>>,
    holdings: Option<Arc<Holdings>>,
}

impl Limits {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            waiters: rules.max_waiters,
            waiting: Arc::default(),
            holdings: (rules.max_locks > 0).then(|| Arc::new(Holdings::new(rules.max_locks))),
        }
    }

    /// Who has how many locks, where somebody wants to know.
    pub(super) fn holdings(&self) -> Option<Arc<Holdings>> {
        self.holdings.clone()
    }

    /// Lets a request for `locks` locks in, or says which limit it meets.
    pub(super) fn admit(
        &self,
        holder: &Holder,
        locks: usize,
        wait: Duration,
    ) -> Result<Place, LockError> {
        let mut place = Place {
            holder: holder.clone(),
            asked: 0,
            holdings: None,
            waiting: None,
        };
        if let Some(holdings) = &self.holdings {
            if !holdings.ask(holder, locks) {
                let limit = holdings.limit();
                return Err(LockError::TooManyLocks { limit });
            }
            place.asked = locks;
            place.holdings = Some(Arc::clone(holdings));
        }
        if self.waiters > 0 && !wait.is_zero() {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = waiting.entry(holder.clone()).or_default();
            if *count >= self.waiters {
                let limit = self.waiters;
                drop(waiting);
                return Err(LockError::TooManyWaiters { limit });
            }
            *count += 1;
            place.waiting = Some(Arc::clone(&self.waiting));
        }
        Ok(place)
    }
}

/// What a request that was let in takes of the limits, until it is dropped.
pub(super) struct Place {
    holder: Holder,
    asked: usize,
    holdings: Option<Arc<Holdings>>,
    waiting: Option<Arc<Mutex<HashMap<Holder, usize>>>>,
}

impl Place {
    /// The request got what it asked for.
    pub(super) fn won(self, tenures: impl IntoIterator<Item = (LockKey, FencingToken)>) {
        if let Some(holdings) = &self.holdings {
            for tenure in tenures {
                holdings.told(&self.holder, tenure);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(holdings) = &self.holdings {
            holdings.asked_no_more(&self.holder, self.asked);
        }
        let Some(waiting) = &self.waiting else { return };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.holder);
            }
        }
    }
}
