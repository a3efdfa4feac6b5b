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

    /// Whether `request` has ended.
    pub fn contains(&self, request: &RequestId) -> bool {
        self.known.contains(request)
    }

    /// Remembers `request` until then, which is not before the time of any other.
    pub fn remember(&mut self, request: RequestId, until: Moment) {
        if self.known.insert(request.clone()) {
            self.order.push_back((until, request));
        }
    }

    /// Forgets what is due, and tells it.
    pub fn forget(&mut self, now: Moment) -> impl Iterator<Item = RequestId> {
        let due = self.order.partition_point(|(until, _)| *until <= now);
        let forgotten: Vec<_> = self
            .order
            .drain(..due)
            .map(|(_, request)| request)
            .collect();
        for request in &forgotten {
            self.known.remove(request);
        }
        forgotten.into_iter()
    }

    /// When the next one is forgotten.
    pub fn next_change(&self) -> Option<Moment> {
        self.order.front().map(|(until, _)| *until)
    }
}
