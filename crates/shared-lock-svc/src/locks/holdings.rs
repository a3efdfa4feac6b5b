//! Who has how many locks, at all replicas: as the store listed them, and as its events tell since.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::lease::{EventKind, FencingToken, Holder, LockEvent, LockKey, LockView};

/// Locks by holder.
pub(super) struct Holdings {
    limit: usize,
    holders: Mutex<HashMap<Holder, Holding>>,
}

#[derive(Default)]
struct Holding {
    /// Locks that requests on their way ask for.
    asked: usize,
    tenures: HashMap<(LockKey, FencingToken), Source>,
}

/// How we know of a tenure.
#[derive(Clone, Copy)]
enum Source {
    /// The store lists it, or has told of it.
    Store,
    /// Its holder was told, and the event is on its way; or it came and is over already.
    Answer(Instant),
}

impl Holdings {
    /// How late an event may be.
    const LAG: Duration = Duration::from_secs(10);

    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            holders: Mutex::default(),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether `holder` may have as many locks more, with all that it asks for already.
    pub(super) fn ask(&self, holder: &Holder, locks: usize) -> bool {
        let mut holders = self.lock();
        let holding = holders.entry(holder.clone()).or_default();
        holding.tenures.retain(|_, source| match source {
            Source::Store => true,
            Source::Answer(at) => at.elapsed() < Self::LAG,
        });
        let free = holding.asked + holding.tenures.len() + locks <= self.limit;
        if free {
            holding.asked += locks;
        }
        free
    }

    pub(super) fn asked_no_more(&self, holder: &Holder, locks: usize) {
        let mut holders = self.lock();
        if let Some(holding) = holders.get_mut(holder) {
            holding.asked -= locks;
        }
        tidy(&mut holders, holder);
    }

    /// Its holder was told of a tenure.
    pub(super) fn told(&self, holder: &Holder, tenure: (LockKey, FencingToken)) {
        let mut holders = self.lock();
        let holding = holders.entry(holder.clone()).or_default();
        let answer = Source::Answer(Instant::now());
        holding.tenures.entry(tenure).or_insert(answer);
    }

    pub(super) fn happened(&self, event: &LockEvent) {
        let (Some(holder), Some(token)) = (&event.holder, event.fencing_token) else {
            return;
        };
        let tenure = (event.key.clone(), token);
        let mut holders = self.lock();
        match event.kind {
            EventKind::Acquired => {
                let holding = holders.entry(holder.clone()).or_default();
                holding.tenures.insert(tenure, Source::Store);
            }
            EventKind::Released | EventKind::Expired | EventKind::Lost => {
                if let Some(holding) = holders.get_mut(holder) {
                    holding.tenures.remove(&tenure);
                }
                tidy(&mut holders, holder);
            }
            EventKind::Queued => {}
        }
    }

    /// Begins anew with what the store lists.
    pub(super) fn listed(&self, locks: Vec<(LockKey, LockView)>) {
        let mut holders = self.lock();
        for holding in holders.values_mut() {
            holding
                .tenures
                .retain(|_, source| matches!(source, Source::Answer(_)));
        }
        for (key, lock) in locks {
            for view in lock.holders {
                if let Some(holder) = view.holder {
                    let holding = holders.entry(holder).or_default();
                    let tenure = (key.clone(), view.fencing_token);
                    holding.tenures.insert(tenure, Source::Store);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, Holding>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody is remembered for nothing.
fn tidy(holders: &mut HashMap<Holder, Holding>, holder: &Holder) {
    let idle = |holding: &Holding| holding.asked == 0 && holding.tenures.is_empty();
    if holders.get(holder).is_some_and(idle) {
        holders.remove(holder);
    }
}
