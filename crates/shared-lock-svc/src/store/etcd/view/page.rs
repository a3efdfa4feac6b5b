//! The locks that the view shows, in the order of their names.

use std::collections::BTreeMap;

use super::{super::listing::Listed, View};
use crate::lease::PageRequest;

impl View {
    /// A page of the locks that somebody holds or waits for, and whether there are more behind it.
    pub(in super::super) fn page(&self, page: &PageRequest) -> (Vec<Listed>, bool) {
        let seen = self.seen();
        let is_wanted = |name: &str| {
            name.starts_with(&page.prefix)
                && page
                    .after
                    .as_ref()
                    .is_none_or(|after| name > after.as_str())
        };
        // The first so many of all, without sorting the rest.
        let mut first = BTreeMap::new();
        let mut more = false;
        for lock in seen.locks.values() {
            let in_use = lock.holds().next().is_some() || lock.waiting().next().is_some();
            let Some(name) = lock
                .name()
                .filter(|name| in_use && is_wanted(name.as_str()))
            else {
                continue;
            };
            first.insert(name.clone(), lock);
            if first.len() > page.limit {
                first.pop_last();
                more = true;
            }
        }
        let listed = first.into_iter().map(|(key, lock)| Listed {
            key,
            holds: lock.holds_in_order(),
            waiting: lock.waiting().cloned().collect(),
        });
        (listed.collect(), more)
    }
}
