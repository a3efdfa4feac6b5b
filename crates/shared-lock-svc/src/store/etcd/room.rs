//! Who may have a lock next: the longest beginning of its queue that fits beside the tenures that
//! stay. Acquire, hand-over and promotion all decide by this, on the view or on a read.

use std::collections::HashSet;

use super::sight::{Hold, Tenures, Waiting};
use crate::lease::{LeaseId, Mode};

/// Waiters that one transaction may grant together.
const LONGEST_RUN: usize = 16;

/// Waiters that one transaction grants together, the oldest first.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) waiters: Vec<Waiting>,
    /// Mod revision of the newest permit that was counted; zero if there was none.
    pub(super) newest_permit: i64,
}

/// How a lock stands, as far as it decides who may have it next.
#[derive(Debug, Default)]
pub(super) struct Scene {
    pub(super) tenures: Tenures,
    /// The first of the queue, in their order.
    pub(super) queue: Vec<Waiting>,
    /// The leases of theirs that are alive, by their guards.
    pub(super) guarded: HashSet<LeaseId>,
}

impl Run {
    /// The mode of all of them: an exclusive one is a run of its own, and readers and permits do not
    /// mix.
    pub(super) fn mode(&self) -> Mode {
        let head = self.waiters.first();
        head.map_or(Mode::Exclusive, |head| head.waiter.meta.mode)
    }
}

impl Scene {
    /// How many of the queue a scene has to show: one more than a run takes.
    pub(super) const QUEUE: usize = LONGEST_RUN + 1;

    /// Whoever stands before all that can still be served.
    pub(super) fn dead_heads(&self) -> impl Iterator<Item = &Waiting> {
        self.queue.iter().take_while(|waiting| !self.lives(waiting))
    }

    /// The waiters that may be granted, once `leaving` is over. The first who cannot be ends the
    /// run: nobody is skipped, however small.
    pub(super) fn next_run(&self, leaving: Option<&Hold>) -> Option<Run> {
        let mut room = Room::beside(&self.tenures, leaving);
        let mut leases = HashSet::new();
        let waiters: Vec<_> = self
            .queue
            .iter()
            .take(LONGEST_RUN)
            .take_while(|waiting| {
                // Two on one lease would have the same token too, and a late release of the one
                // would end the other.
                self.lives(waiting)
                    && leases.insert(waiting.waiter.meta.leases.lease)
                    && room.takes(waiting.waiter.meta.mode)
            })
            .cloned()
            .collect();
        (!waiters.is_empty()).then(|| Run {
            waiters,
            newest_permit: self.tenures.newest_permit(),
        })
    }

    fn lives(&self, waiting: &Waiting) -> bool {
        let mut leases = waiting.waiter.meta.leases.all();
        leases.all(|lease| self.guarded.contains(&lease))
    }
}

impl Tenures {
    /// Whether there is room for one more of this mode.
    pub(super) fn have_room_for(&self, mode: Mode) -> bool {
        Room::beside(self, None).takes(mode)
    }
}

/// What the tenures of a lock leave to others.
struct Room {
    closed: bool,
    readers: bool,
    permits: bool,
    weight: u64,
    /// The least of all limits that permits were granted under.
    limit: u32,
}

impl Room {
    fn beside(tenures: &Tenures, leaving: Option<&Hold>) -> Self {
        let stays = |hold: &&Hold| leaving.is_none_or(|leaving| !leaving.is(hold));
        let holder = tenures.holder.as_ref();
        let stays_closed = match holder {
            Some(holder) => stays(&holder),
            None => tenures.delayed,
        };
        let mut room = Self {
            closed: stays_closed,
            readers: tenures.readers.iter().any(|hold| stays(&hold)),
            permits: false,
            weight: 0,
            limit: u32::MAX,
        };
        for permit in tenures.permits.iter().filter(stays) {
            if let Mode::Permit { limit, weight } = permit.mode {
                room.count(limit.get(), weight.get());
            }
        }
        room
    }

    fn count(&mut self, limit: u32, weight: u32) {
        self.permits = true;
        self.weight += u64::from(weight);
        self.limit = self.limit.min(limit);
    }

    /// Takes one more in, if there is room.
    fn takes(&mut self, mode: Mode) -> bool {
        if self.closed {
            return false;
        }
        match mode {
            Mode::Exclusive => {
                self.closed = !self.readers && !self.permits;
                self.closed
            }
            Mode::Shared => {
                self.readers |= !self.permits;
                !self.permits
            }
            Mode::Permit { limit, weight } => {
                let (limit, weight) = (limit.get(), weight.get());
                let all = self.weight + u64::from(weight);
                let fits = !self.readers && all <= u64::from(self.limit.min(limit));
                if fits {
                    self.count(limit, weight);
                }
                fits
            }
        }
    }
}

#[cfg(test)]
#[path = "room/tests.rs"]
mod tests;
