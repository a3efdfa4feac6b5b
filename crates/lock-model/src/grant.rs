//! Who may get the lock next: the longest beginning of the queue that fits beside the tenures
//! that stay. Acquire, hand-over and promotion all decide by this, on a view or on a read.

use crate::{
    keys::{Keys, Revision},
    mistake::Mistake,
    scenario::{Mode, REQUESTS, Scenario},
};

/// Waiters that one transaction grants together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The oldest of them.
    pub(crate) head: usize,
    /// The place of each of them; zero for who is not in the run.
    pub(crate) places: [Revision; REQUESTS],
    /// The greatest token among the permits that were counted.
    pub(crate) counted: Revision,
}

/// The waiters of `lock` that may be granted once the tenure of `leaving` is over.
pub(crate) fn next_run(
    scenario: &Scenario,
    keys: &Keys,
    lock: usize,
    leaving: Option<usize>,
) -> Option<Run> {
    let mut run: Option<Run> = None;
    let mut room = Room::left_by(scenario, keys, lock, leaving);
    let counted = if scenario.makes(Mistake::CapacityCompareForgetsWhoLeaves) {
        let stays = |&(permit, ..): &(usize, u8, u8)| leaving != Some(permit);
        keys.permits(scenario, lock)
            .filter(stays)
            .map(|(permit, ..)| keys.tenures[permit].token)
            .max()
            .unwrap_or(0)
    } else {
        newest_permit(scenario, keys, lock)
    };
    let mut leases = 0u16;
    let mut length = 0;
    for waiter in keys.queue(scenario, lock).iter() {
        let entry = &keys.waiters[waiter];
        let lease = crate::lease::bit(entry.lease);
        let twice = leases & lease != 0 && !scenario.makes(Mistake::RunTakesALeaseTwice);
        if length == scenario.run
            || twice
            || !keys.guarded(entry.lease)
            || !room.takes(scenario, waiter)
        {
            if scenario.makes(Mistake::RunSkipsWhoDoesNotFit) {
                continue;
            }
            break;
        }
        leases |= lease;
        length += 1;
        let run = run.get_or_insert(Run {
            head: waiter,
            places: [0; REQUESTS],
            counted,
        });
        run.places[waiter] = entry.place;
    }
    run
}

/// Whether `request` may take `lock` at once: there is room, and nobody waits.
pub(crate) fn may_acquire(scenario: &Scenario, keys: &Keys, request: usize) -> bool {
    let lock = scenario.lock_of(request);
    let queue_is_free =
        keys.queue(scenario, lock).is_empty() || scenario.makes(Mistake::BargingPastTheQueue);
    queue_is_free && Room::left_by(scenario, keys, lock, None).takes(scenario, request)
}

/// The greatest token among the permits of `lock`: none has been added as long as none is greater.
pub(crate) fn newest_permit(scenario: &Scenario, keys: &Keys, lock: usize) -> Revision {
    keys.permits(scenario, lock)
        .map(|(request, ..)| keys.tenures[request].token)
        .max()
        .unwrap_or(0)
}

/// What the tenures of a lock leave to others.
struct Room {
    closed: bool,
    readers: bool,
    permits: bool,
    weight: u8,
    /// The smallest limit that any permit was granted under.
    limit: u8,
}

impl Room {
    fn left_by(scenario: &Scenario, keys: &Keys, lock: usize, leaving: Option<usize>) -> Self {
        let holder = &keys.holders[lock];
        let leaves = holder.present() && leaving == Some(usize::from(holder.request));
        let mut room = Self {
            closed: !leaves
                && (holder.present()
                    || keys.delays[lock] && !scenario.makes(Mistake::DelayIgnored)),
            readers: keys
                .readers(scenario, lock)
                .any(|reader| leaving != Some(reader)),
            permits: false,
            weight: 0,
            limit: u8::MAX,
        };
        for (_, limit, weight) in keys
            .permits(scenario, lock)
            .filter(|&(permit, ..)| leaving != Some(permit))
        {
            room.count(scenario, limit, weight);
        }
        room
    }

    fn count(&mut self, scenario: &Scenario, limit: u8, weight: u8) {
        self.permits = true;
        self.weight += weight;
        if !scenario.makes(Mistake::OnlyTheOwnLimitCounts) {
            self.limit = self.limit.min(limit);
        }
    }

    /// Takes `request` in, if there is room for it.
    fn takes(&mut self, scenario: &Scenario, request: usize) -> bool {
        match scenario.mode_of(request) {
            _ if self.closed => false,
            Mode::Exclusive => {
                let alone = !self.permits
                    && (!self.readers || scenario.makes(Mistake::WriterIgnoresReaders));
                self.closed = alone;
                alone
            }
            Mode::Shared => {
                self.readers |= !self.permits;
                !self.permits
            }
            Mode::Permit { limit, weight } => {
                let fits = !self.readers && self.weight + weight <= self.limit.min(limit);
                if fits {
                    self.count(scenario, limit, weight);
                }
                fits
            }
        }
    }
}
