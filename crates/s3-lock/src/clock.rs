//! Time as locks see it: it runs on while the machine is suspended, as it does for everybody else.

use std::time::Duration;

/// Timers of the runtime stop during a suspend. One that is looked at this often is late by no more
/// than this after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(running_time())
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// Time from now until then; zero if it is over.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_sub(running_time())
    }
}

/// Sleeps until then, suspends included.
pub(crate) async fn sleep_until(moment: Moment) {
    loop {
        let left = moment.left();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

#[cfg(target_os = "linux")]
fn running_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::Boottime);
    // Neither is ever negative on a clock that starts at boot.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

#[cfg(not(target_os = "linux"))]
fn running_time() -> Duration {
    use std::{sync::OnceLock, time::Instant};

    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
