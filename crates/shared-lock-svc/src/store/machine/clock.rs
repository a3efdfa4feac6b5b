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
    rate: f64,
}

impl Clock {
    /// A clock that starts now.
    pub(in crate::store) fn start() -> Self {
        Self {
            origin: Instant::now(),
            since_epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            rate: 1.0,
        }
    }

    /// One that runs faster than a good one, or slower.
    pub(in crate::store) fn at_rate(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    /// What it shows.
    pub(in crate::store) fn now(&self) -> Moment {
        Moment(self.since_epoch + self.origin.elapsed().mul_f64(self.rate))
    }

    /// When it shows `moment`; at once, if that was before its start.
    pub(in crate::store) fn instant_of(&self, moment: Moment) -> Instant {
        let shown = moment.0.saturating_sub(self.since_epoch);
        self.origin + shown.div_f64(self.rate)
    }
}
