//! Who waits for whom. Only sessions can be known to wait for each other, and only readers and
//! writers wait for somebody in particular: another permit may always come free.

use std::collections::HashSet;

use super::{Lock, Table, Wish};
use crate::lease::{Holder, LeaseId, LockKey, Mode, RequestId};

/// A request that waits, and the one on whose way it was found.
struct Node {
    key: LockKey,
    request: RequestId,
    from: Option<usize>,
}

impl Table {
    /// The ring that this request has just closed: who waits for which lock, this request first, then
    /// whoever it waits for. Only the end of a queue can close one, so whoever comes last is told.
    pub(super) fn ring_of(&self, key: &LockKey, wish: &Wish) -> Option<Vec<(LockKey, Holder)>> {
        let home = wish.session()?;
        let mut nodes = vec![Node {
            key: key.clone(),
            request: wish.request_id.clone(),
            from: None,
        }];
        let mut met = HashSet::from([home]);
        let mut at = 0;
        while at < nodes.len() {
            for blocker in self.blockers(&nodes[at]) {
                if blocker == home {
                    return Some(self.way_to(&nodes, at));
                }
                if met.insert(blocker) {
                    nodes.extend(self.waits_of(blocker, at));
                }
            }
            at += 1;
        }
        None
    }

    /// The sessions that must let go before this request is served: who holds against it, and who is
    /// to hold against it before its turn comes. Its own session's requests before it do not count:
    /// they get the lock as it does.
    fn blockers(&self, node: &Node) -> Vec<LeaseId> {
        let Some((lock, wish, place)) = self.waiting(node) else {
            return Vec::new();
        };
        let against = |other: &&Wish| conflict(other.mode, wish.mode);
        let holding = lock.grants.iter().map(|grant| &*grant.wish);
        let before = lock.queue.iter().take(place).map(|waiter| &*waiter.wish);
        let before = before.filter(|other| other.session() != wish.session());
        let all = holding.chain(before).filter(against);
        all.filter_map(Wish::session).collect()
    }

    /// Everything that a session waits for.
    fn waits_of(&self, session: LeaseId, from: usize) -> Vec<Node> {
        let requests = self.sessions.requests(session);
        let nodes = requests.map(|(key, request)| Node {
            key: key.clone(),
            request: request.clone(),
            from: Some(from),
        });
        nodes.filter(|node| self.waiting(node).is_some()).collect()
    }

    fn waiting(&self, node: &Node) -> Option<(&Lock, &Wish, usize)> {
        let lock = self.lock(&node.key)?;
        let place = lock.place_of(&node.request)?;
        Some((lock, &lock.queue.get(place)?.wish, place))
    }

    fn way_to(&self, nodes: &[Node], last: usize) -> Vec<(LockKey, Holder)> {
        let mut way = Vec::new();
        let mut at = Some(last);
        while let Some(node) = at.and_then(|at| nodes.get(at)) {
            if let Some((_, wish, _)) = self.waiting(node) {
                way.push((node.key.clone(), wish.holder.clone()));
            }
            at = node.from;
        }
        way.reverse();
        way
    }
}

/// Whether two that read or write cannot hold at once.
fn conflict(one: Mode, other: Mode) -> bool {
    let permit = |mode| matches!(mode, Mode::Permit { .. });
    let writes = |mode| mode == Mode::Exclusive;
    !permit(one) && !permit(other) && (writes(one) || writes(other))
}
