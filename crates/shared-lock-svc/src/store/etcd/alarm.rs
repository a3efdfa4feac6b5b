//! etcd's alarm for want of space: then it is spared whatever would fill it further.
//!
//! Some versions of etcd count only the puts of the outermost transaction, and let through what
//! rides in a batch, alarm or not. So the alarm is looked for while anything is added.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{
    client::{Call, Etcd},
    fault::Fault,
};

/// How often the alarm is looked for while it lasts, or while anything is added.
const LOOK: Duration = Duration::from_secs(1);

/// What etcd says when it does not put for want of space.
const COMPLAINT: &str = "database space exceeded";

#[derive(Default)]
pub(super) struct Alarm {
    raised: AtomicBool,
    adding: Notify,
}

impl Etcd {
    /// Whether etcd has no space left, as far as we know.
    pub(super) fn is_full(&self) -> bool {
        self.alarm.raised.load(Ordering::Relaxed)
    }

    /// Notes that something is to be added to etcd.
    ///
    /// # Errors
    /// There is no space left for it.
    pub(super) fn may_add(&self) -> Result<(), Fault> {
        self.alarm.adding.notify_one();
        if self.is_full() {
            Err(Fault::unreachable("etcd has no space left"))
        } else {
            Ok(())
        }
    }

    /// Looks for the alarm, while there is reason to; for ever.
    pub(super) async fn listen_for_alarm(self: &Arc<Self>) {
        loop {
            if !self.is_full() {
                self.alarm.adding.notified().await;
            }
            let looked = Instant::now();
            // A status is told by the member itself: no entry in etcd's log, as a list of alarms is.
            let status = self.call(Call::freely("status"), |mut client| async move {
                client.status().await
            });
            if let Ok(status) = status.await {
                self.note_alarm(
                    status
                        .errors()
                        .iter()
                        .any(|error| error.contains("NOSPACE")),
                );
            }
            sleep(LOOK.saturating_sub(looked.elapsed())).await;
        }
    }

    /// Takes a hint from what etcd complains of.
    pub(super) fn heed(&self, fault: &Fault) {
        if matches!(fault, Fault::Lost(why) if why.contains(COMPLAINT)) {
            self.note_alarm(true);
            self.alarm.adding.notify_one();
        }
    }

    fn note_alarm(&self, raised: bool) {
        if self.alarm.raised.swap(raised, Ordering::Relaxed) == raised {
            return;
        }
        self.metrics.out_of_space.set(i64::from(raised));
        if raised {
            warn!("etcd has no space left: no lock is granted until its alarm is disarmed");
        } else {
            info!("etcd has space again");
        }
    }
}
