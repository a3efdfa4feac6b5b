//! The clock of a store that has none of its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::state::Moment;

/// Starts at the wall clock and then never goes back: within a process it only moves forward, and
/// across restarts it tells the age of what was stored as well as the wall clock can.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Clock {
    origin: Instant,
    since_epoch: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub(in crate::store) fn start() -> Self {
        Self {
            origin: Instant::now(),
            since_epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// What it shows.
    pub(in crate::store) fn now(&self) -> Moment {
        Moment(self.since_epoch + self.origin.elapsed())
    }

    /// When it shows `moment`; at once, if that was before its start.
    pub(in crate::store) fn instant_of(&self, moment: Moment) -> Instant {
        self.origin + moment.0.saturating_sub(self.since_epoch)
    }
}
