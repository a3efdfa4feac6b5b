//! Tombstones: the requests of a lock that have ended.

use std::collections::{HashSet, VecDeque};

use super::Moment;
use crate::lease::RequestId;

/// The requests that have ended, each until it is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    known: HashSet<RequestId>,
    /// All live equally long, so the oldest goes first.
    order: VecDeque<(Moment, RequestId)>,
}

impl Ended {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The requests, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &RequestId> {
        self.order.iter().map(|(_, request)| request)
    }

    /// Whether `request` has ended.
    pub fn contains(&self, request: &RequestId) -> bool {
        self.known.contains(request)
    }

    /// Remembers `request` until then, which is not before the time of any other. Where there would
    /// be more than `bound`, the oldest is forgotten, and told.
    pub fn remember(
        &mut self,
        request: RequestId,
        until: Moment,
        bound: usize,
    ) -> impl Iterator<Item = RequestId> {
        if self.known.insert(request.clone()) {
            self.order.push_back((until, request));
        }
        let surplus = self.order.len().saturating_sub(bound);
        self.drop_first(surplus).into_iter()
    }

    /// Forgets what is due, and tells it.
    pub fn forget(&mut self, now: Moment) -> impl Iterator<Item = RequestId> {
        let due = self.order.partition_point(|(until, _)| *until <= now);
        self.drop_first(due).into_iter()
    }

    fn drop_first(&mut self, count: usize) -> Vec<RequestId> {
        let first = self.order.drain(..count);
        let forgotten: Vec<_> = first.map(|(_, request)| request).collect();
        for request in &forgotten {
            self.known.remove(request);
        }
        forgotten
    }

    /// When the next one is forgotten.
    pub fn next_change(&self) -> Option<Moment> {
        self.order.front().map(|(until, _)| *until)
    }
}
