//! Whether somebody waits for itself.

use std::collections::BTreeSet;

use shared_lock_svc::lease::{LeaseId, LockKey, Mode, RequestId};

use super::Judge;

impl Judge {
    /// The sessions on a way from what this request waits for back to its own session.
    pub(super) fn ring_from(&self, key: &LockKey, request: &RequestId) -> Option<Vec<LeaseId>> {
        let waiting = self
            .locks
            .get(key)?
            .queue
            .iter()
            .find(|it| it.request == *request)?;
        let home = waiting.session?;
        let mut met = BTreeSet::new();
        let mut way = Vec::new();
        self.leads_home(key, request, home, &mut met, &mut way)
            .then_some(way)
    }

    fn leads_home(
        &self,
        key: &LockKey,
        request: &RequestId,
        home: LeaseId,
        met: &mut BTreeSet<LeaseId>,
        way: &mut Vec<LeaseId>,
    ) -> bool {
        for session in self.stand_in_the_way(key, request) {
            way.push(session);
            if session == home {
                return true;
            }
            if met.insert(session) {
                let waits = self.locks.iter().flat_map(|(key, book)| {
                    let own = book
                        .queue
                        .iter()
                        .filter(move |it| it.session == Some(session));
                    own.map(move |it| (key, &it.request))
                });
                for (key, request) in waits {
                    if self.leads_home(key, request, home, met, way) {
                        return true;
                    }
                }
            }
            way.pop();
        }
        false
    }

    /// Sessions that hold what this request cannot hold beside them, or will before it may.
    fn stand_in_the_way(&self, key: &LockKey, request: &RequestId) -> BTreeSet<LeaseId> {
        let mut found = BTreeSet::new();
        let Some(book) = self.locks.get(key) else {
            return found;
        };
        let Some(place) = book.queue.iter().position(|it| it.request == *request) else {
            return found;
        };
        let own = &book.queue[place];
        for holding in &book.holders {
            if excludes(own.mode, holding.mode) {
                found.extend(holding.session);
            }
        }
        for before in &book.queue[..place] {
            if excludes(own.mode, before.mode) && before.session != own.session {
                found.extend(before.session);
            }
        }
        found
    }
}

fn excludes(one: Mode, other: Mode) -> bool {
    let permit = |mode| matches!(mode, Mode::Permit { .. });
    !permit(one) && !permit(other) && [one, other] != [Mode::Shared; 2]
}
