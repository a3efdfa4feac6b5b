//! Tenure leases that were granted before anybody asked for them: a grant of its own is an entry in
//! etcd's log, and none that a caller should have to wait for.
//!
//! A lease serves one tenure, since its id is the holder's handle. Spares are kept by TTL, as many
//! as were asked for lately, and alive. One that was not confirmed for a third of its life is
//! not used: after a long stop of this process they are all gone at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tracing::debug;

use super::{
    Core,
    fault::Fault,
    leases::{Lease, whole_seconds},
};
use crate::lease::LeaseId;

/// TTLs that have spares; the one that was not asked for the longest makes room.
const POOLS: usize = 16;

/// Spares of a TTL that anybody asked for lately.
const FEWEST: usize = 2;

/// Spares of one TTL: if we die they burden etcd until they expire.
const MOST: usize = 256;

/// After this long a TTL that nobody asks for has no spares any more.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// How often demand is measured.
const TICK: Duration = Duration::from_millis(100);

/// What the last tick weighs in the average of all.
const WEIGHT: f64 = 0.2;

/// Ticks that the spares are to last.
const STOCK: f64 = 2.0;

/// Grants under way ahead of demand.
const GRANTS: usize = 16;

/// How long to wait before granting again when etcd would not.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Pools {
    pools: Mutex<HashMap<i64, Pool>>,
    asked: Notify,
}

/// The spares of one TTL, the freshest last.
struct Pool {
    spares: Vec<Spare>,
    /// Grants under way.
    coming: usize,
    /// Asked for since the last tick.
    taken: usize,
    /// Asked for in a tick, on average.
    demand: f64,
    used: Instant,
}

#[derive(Clone, Copy)]
struct Spare {
    lease: Lease,
    /// When etcd was asked for what it then confirmed.
    confirmed: Instant,
}

impl Core {
    /// A lease of at least this life for one tenure. It has not served anybody, but may have died.
    pub(super) async fn tenure_lease(self: &Arc<Self>, ttl: Duration) -> Result<Lease, Fault> {
        let seconds = whole_seconds(ttl);
        match self.pools.take(seconds) {
            Some(lease) => {
                self.etcd.metrics.took_lease("spare");
                Ok(lease)
            }
            None => {
                self.etcd.metrics.took_lease("granted");
                self.grant_lease(Duration::from_secs(seconds.unsigned_abs()))
                    .await
            }
        }
    }

    /// Throws all spares away: one of them was dead, or nobody is served any more.
    pub(super) fn drop_spares(&self) {
        for lease in self.pools.drain() {
            self.revoke_lease_later(lease);
        }
    }

    /// Keeps spares at hand; for ever.
    pub(super) async fn keep_spares(self: &Arc<Self>) {
        let grants = Arc::new(Semaphore::new(GRANTS));
        let mut ticked = Instant::now();
        loop {
            if self.pools.is_empty() {
                self.pools.asked.notified().await;
            } else {
                // Woken early when a spare was taken; a timeout is the usual case.
                let _ = timeout(TICK, self.pools.asked.notified()).await;
            }
            let spares = self.pools.len();
            self.etcd
                .metrics
                .spares
                .set(i64::try_from(spares).unwrap_or(i64::MAX));
            let mut stale = Vec::new();
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                for lease in self.pools.tick() {
                    self.revoke_lease_later(lease);
                }
                stale = self.pools.stale();
            }
            for seconds in self.pools.missing(grants.available_permits()) {
                let (core, grants) = (Arc::clone(self), Arc::clone(&grants));
                self.tasks.spawn(async move {
                    // It is not closed.
                    let _permit = grants.acquire().await;
                    core.grant_spare(seconds).await;
                });
            }
            if !stale.is_empty() {
                self.refresh(stale).await;
            }
        }
    }

    async fn grant_spare(self: &Arc<Self>, seconds: i64) {
        let confirmed = Instant::now();
        match self
            .grant_lease(Duration::from_secs(seconds.unsigned_abs()))
            .await
        {
            Ok(lease) => {
                let spare = Spare { lease, confirmed };
                if self.closing.is_cancelled() || !self.pools.put(seconds, spare) {
                    self.revoke_lease_later(lease.id);
                }
            }
            Err(fault) => {
                debug!(error = %fault, "no spare lease was granted: {fault}");
                sleep(RETRY).await;
            }
        }
        self.pools.came(seconds);
    }

    /// Keeps spares alive, all at once.
    async fn refresh(self: &Arc<Self>, stale: Vec<Lease>) {
        let mut renewals = JoinSet::new();
        for lease in stale {
            let core = Arc::clone(self);
            let limit = self.options.operation_timeout.min(lease.ttl / 6);
            renewals.spawn(async move { (lease, core.keep_lease_once(lease.id, limit).await) });
        }
        while let Some(renewed) = renewals.join_next().await {
            match renewed {
                Ok((lease, Ok(Some(confirmed)))) => self.pools.confirm(lease.id, confirmed.sent),
                Ok((lease, Ok(None))) => self.pools.remove(lease.id),
                // Who is not confirmed is not used.
                Ok((_, Err(_))) | Err(_) => {}
            }
        }
        self.pools.sort();
    }
}

impl Pools {
    fn take(&self, seconds: i64) -> Option<Lease> {
        let mut pools = self.pools();
        let pool = pools.entry(seconds).or_insert_with(Pool::new);
        pool.taken += 1;
        pool.used = Instant::now();
        let spare = pool.take();
        self.asked.notify_one();
        spare
    }

    /// Whether the spare is still wanted.
    fn put(&self, seconds: i64, spare: Spare) -> bool {
        match self.pools().get_mut(&seconds) {
            Some(pool) => {
                pool.spares.push(spare);
                true
            }
            None => false,
        }
    }

    /// A grant has ended, one way or the other.
    fn came(&self, seconds: i64) {
        if let Some(pool) = self.pools().get_mut(&seconds) {
            pool.coming = pool.coming.saturating_sub(1);
        }
    }

    /// Measures demand. Returns spares that are too many.
    fn tick(&self) -> Vec<LeaseId> {
        let mut pools = self.pools();
        let mut surplus = Vec::new();
        for pool in pools.values_mut() {
            pool.tick();
            surplus.extend(pool.surplus());
        }
        let mut by_use: Vec<(Instant, i64)> = pools
            .iter()
            .map(|(seconds, pool)| (pool.used, *seconds))
            .collect();
        by_use.sort_unstable_by(|one, other| other.cmp(one));
        for (place, (used, seconds)) in by_use.into_iter().enumerate() {
            if (place >= POOLS || used.elapsed() >= FORGOTTEN)
                && let Some(pool) = pools.remove(&seconds)
            {
                surplus.extend(pool.spares.iter().map(|spare| spare.lease.id));
            }
        }
        surplus
    }

    /// Spares that are to be confirmed.
    fn stale(&self) -> Vec<Lease> {
        let pools = self.pools();
        let spares = pools.values().flat_map(|pool| &pool.spares);
        spares
            .filter(|spare| spare.confirmed.elapsed() >= spare.lease.ttl / 5)
            .map(|spare| spare.lease)
            .collect()
    }

    /// TTLs that a spare is to be granted of, each as often as one is missing, at most so many.
    fn missing(&self, most: usize) -> Vec<i64> {
        let mut missing = Vec::new();
        for (seconds, pool) in self.pools().iter_mut() {
            let wanted = pool
                .wanted()
                .saturating_sub(pool.spares.len() + pool.coming);
            let wanted = wanted.min(most - missing.len());
            pool.coming += wanted;
            missing.extend(std::iter::repeat_n(*seconds, wanted));
        }
        missing
    }

    fn confirm(&self, lease: LeaseId, sent: Instant) {
        let mut pools = self.pools();
        let mut spares = pools.values_mut().flat_map(|pool| &mut pool.spares);
        if let Some(spare) = spares.find(|spare| spare.lease.id == lease) {
            spare.confirmed = sent;
        }
    }

    fn remove(&self, lease: LeaseId) {
        for pool in self.pools().values_mut() {
            pool.spares.retain(|spare| spare.lease.id != lease);
        }
    }

    fn sort(&self) {
        for pool in self.pools().values_mut() {
            pool.spares.sort_unstable_by_key(|spare| spare.confirmed);
        }
    }

    fn drain(&self) -> Vec<LeaseId> {
        let mut pools = self.pools();
        let spares = pools.values_mut().flat_map(|pool| pool.spares.drain(..));
        spares.map(|spare| spare.lease.id).collect()
    }

    fn len(&self) -> usize {
        self.pools().values().map(|pool| pool.spares.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.pools().is_empty()
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<i64, Pool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn new() -> Self {
        Self {
            spares: Vec::new(),
            coming: 0,
            taken: 0,
            demand: 0.0,
            used: Instant::now(),
        }
    }

    fn take(&mut self) -> Option<Lease> {
        let spare = self.spares.pop()?;
        if spare.confirmed.elapsed() < spare.lease.ttl / 3 {
            return Some(spare.lease);
        }
        // It was the freshest. What may still live of the others expires.
        self.spares.clear();
        None
    }

    fn tick(&mut self) {
        let taken = self.taken as f64;
        self.demand += WEIGHT * (taken - self.demand);
        self.taken = 0;
    }

    /// How many spares there should be.
    fn wanted(&self) -> usize {
        let wanted = self.demand.max(self.taken as f64) * STOCK;
        (wanted.ceil() as usize).clamp(FEWEST, MOST)
    }

    /// Spares well beyond what is wanted, the oldest first, some at a time.
    fn surplus(&mut self) -> Vec<LeaseId> {
        let surplus = self.spares.len().saturating_sub(self.wanted() * 3 / 2);
        let gone = self.spares.drain(..surplus.div_ceil(10));
        gone.map(|spare| spare.lease.id).collect()
    }
}
