//! The lease cache of the tentens-tech/shared-lock wire: off unless it is asked for.
//!
//! It answers `/lease` for a key that was seen held a moment ago, without asking the store. Only
//! "held" is ever remembered, so it cannot break exclusion. An entry is forgotten when the store
//! tells of the end of a tenure, wherever that came about; and should the store not see it, or be
//! behind, after [`LeaseCache::STALENESS`], or when the lease that it names is over.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{IntCounterVec, Opts, Registry};

use crate::lease::{Holder, LeaseId, LockKey};

/// Who holds a key, and with which lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The lease.
    pub lease: LeaseId,
    /// Whose it is, as far as that is known.
    pub holder: Option<Holder>,
}

/// Who holds a key, as seen a moment ago. The least recently used entry goes first.
pub struct LeaseCache {
    size: usize,
    entries: Mutex<Entries>,
    operations: IntCounterVec,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<LockKey, Entry>,
    by_use: BTreeMap<u64, LockKey>,
    uses: u64,
}

struct Entry {
    holding: Holding,
    until: Instant,
    used: u64,
}

impl LeaseCache {
    /// How old an answer may be.
    pub const STALENESS: Duration = Duration::from_secs(1);

    /// A cache of `size` entries, and of one at least.
    ///
    /// # Errors
    /// A metric of its name is there already.
    pub fn register(size: i64, registry: &Registry) -> prometheus::Result<Self> {
        let operations = IntCounterVec::new(
            Opts::new(
                "shared_lock_cache_operations_total",
                "Total number of cache operations",
            ),
            &["operation", "status"],
        )?;
        registry.register(Box::new(operations.clone()))?;
        Ok(Self {
            size: usize::try_from(size).unwrap_or(0),
            entries: Mutex::default(),
            operations,
        })
    }

    /// Who was seen to hold `key`.
    pub fn get(&self, key: &LockKey) -> Option<Holding> {
        let mut entries = self.lock();
        let found = entries.touch(key);
        match found {
            Some((holding, until)) if Instant::now() < until => {
                self.count("get", "hit");
                Some(holding)
            }
            Some(_) => {
                self.count("get", "expired");
                entries.remove(key);
                None
            }
            None => {
                self.count("get", "miss");
                None
            }
        }
    }

    /// Remembers who holds `key`, as told by an answer asked for at `asked`.
    pub fn put(&self, key: LockKey, holding: Holding, remaining: Duration, asked: Instant) {
        let mut entries = self.lock();
        let known = entries.remove(&key);
        self.count("set", if known { "update" } else { "success" });
        if entries.by_key.len() >= self.size && entries.evict() {
            self.count("evict", "size_limit");
        }
        entries.insert(key, holding, asked + remaining.min(Self::STALENESS));
    }

    /// Forgets what is known of `key`.
    pub fn forget(&self, key: &LockKey) {
        self.lock().remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.lock() = Entries::default();
    }

    /// Forgets what is too old to be told. To be called every [`LeaseCache::STALENESS`].
    pub fn sweep(&self) {
        let mut entries = self.lock();
        let now = Instant::now();
        let old: Vec<_> = entries
            .by_key
            .iter()
            .filter(|(_, entry)| entry.until <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in old {
            entries.remove(&key);
            self.count("cleanup", "expired");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, operation: &str, status: &str) {
        self.operations
            .with_label_values(&[operation, status])
            .inc();
    }
}

impl Entries {
    fn touch(&mut self, key: &LockKey) -> Option<(Holding, Instant)> {
        let entry = self.by_key.get_mut(key)?;
        self.by_use.remove(&entry.used);
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(entry.used, key.clone());
        Some((entry.holding.clone(), entry.until))
    }

    fn insert(&mut self, key: LockKey, holding: Holding, until: Instant) {
        self.uses += 1;
        let used = self.uses;
        self.by_use.insert(used, key.clone());
        let entry = Entry {
            holding,
            until,
            used,
        };
        self.by_key.insert(key, entry);
    }

    fn remove(&mut self, key: &LockKey) -> bool {
        let Some(entry) = self.by_key.remove(key) else {
            return false;
        };
        self.by_use.remove(&entry.used);
        true
    }

    fn evict(&mut self) -> bool {
        let Some((_, key)) = self.by_use.pop_first() else {
            return false;
        };
        self.by_key.remove(&key);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(size: i64) -> LeaseCache {
        LeaseCache::register(size, &Registry::new()).unwrap()
    }

    fn key(name: &str) -> LockKey {
        LockKey::parse(name).unwrap()
    }

    fn by(lease: i64) -> Holding {
        Holding {
            lease: LeaseId(lease),
            holder: None,
        }
    }

    fn count(cache: &LeaseCache, operation: &str, status: &str) -> u64 {
        cache
            .operations
            .with_label_values(&[operation, status])
            .get()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_entry_is_told_no_longer_than_its_lease_and_a_second() {
        let cache = cache(10);
        let now = Instant::now();
        cache.put(key("fresh"), by(1), LONG, now);
        cache.put(key("over"), by(2), Duration::ZERO, now);
        let long_ago = now.checked_sub(LeaseCache::STALENESS).unwrap();
        cache.put(key("old"), by(3), LONG, long_ago);
        assert_eq!(cache.get(&key("fresh")), Some(by(1)));
        assert_eq!(cache.get(&key("over")), None);
        assert_eq!(cache.get(&key("never")), None);
        cache.sweep();
        assert_eq!(cache.get(&key("old")), None);
        for (operation, status, times) in [
            ("get", "hit", 1),
            ("get", "expired", 1),
            ("get", "miss", 2),
            ("set", "success", 3),
            ("cleanup", "expired", 1),
        ] {
            assert_eq!(
                count(&cache, operation, status),
                times,
                "{operation} {status}"
            );
        }
    }

    #[test]
    fn the_least_recently_used_entry_makes_room() {
        let cache = cache(2);
        let now = Instant::now();
        cache.put(key("a"), by(1), LONG, now);
        cache.put(key("b"), by(2), LONG, now);
        assert!(cache.get(&key("a")).is_some());
        cache.put(key("c"), by(3), LONG, now);
        cache.put(key("c"), by(4), LONG, now);
        assert_eq!(cache.get(&key("a")), Some(by(1)));
        assert_eq!(cache.get(&key("b")), None);
        assert_eq!(cache.get(&key("c")), Some(by(4)));
        assert_eq!(count(&cache, "evict", "size_limit"), 1);
        assert_eq!(count(&cache, "set", "update"), 1);
        cache.forget(&key("c"));
        assert_eq!(cache.get(&key("c")), None);
    }

    #[test]
    fn a_cache_without_size_still_keeps_one_entry() {
        let cache = cache(0);
        cache.put(key("a"), by(1), LONG, Instant::now());
        assert_eq!(cache.get(&key("a")), Some(by(1)));
        cache.put(key("b"), by(2), LONG, Instant::now());
        assert_eq!(cache.get(&key("a")), None);
        assert_eq!(cache.get(&key("b")), Some(by(2)));
    }
}
