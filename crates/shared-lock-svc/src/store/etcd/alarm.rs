//! etcd's alarm for want of space: then it is spared whatever would fill it further.
//!
//! Some versions of etcd count only the puts of the outermost transaction, and let through what
//! rides in a batch, alarm or not. So the alarm is looked for while anything is added.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{
    client::{Call, Etcd},
    fault::Fault,
};

/// How often the alarm is looked for while it lasts, or while anything is added.
const LOOK: Duration = Duration::from_secs(1);

/// How long nothing is added when the alarm is over: until every replica has seen that, and put what
/// it owes.
const SETTLING: Duration = Duration::from_secs(3);

/// What etcd says when it does not put for want of space.
const COMPLAINT: &str = "database space exceeded";

#[derive(Default)]
pub(super) struct Alarm {
    space: watch::Sender<Space>,
    adding: Notify,
}

/// What room etcd has, as far as we know.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Space {
    #[default]
    Left,
    None,
    /// Again, since then.
    Returned(Instant),
}

impl Etcd {
    /// Whether etcd takes no put, as far as we know.
    pub(super) fn is_full(&self) -> bool {
        *self.alarm.space.borrow() == Space::None
    }

    /// Resolves when etcd takes puts, as far as we know.
    pub(super) async fn space_comes(&self) {
        let mut space = self.alarm.space.subscribe();
        // The sender lives as long as we do.
        let _ = space.wait_for(|space| *space != Space::None).await;
    }

    /// Notes that something is to be added to etcd.
    ///
    /// # Errors
    /// There is no space left for it.
    pub(super) fn may_add(&self) -> Result<(), Fault> {
        self.alarm.adding.notify_one();
        if *self.alarm.space.borrow() != Space::Left {
            Err(Fault::unreachable("etcd has no space left"))
        } else {
            Ok(())
        }
    }

    /// Looks for the alarm, while there is reason to; for ever.
    pub(super) async fn listen_for_alarm(self: &Arc<Self>) {
        loop {
            if *self.alarm.space.borrow() == Space::Left {
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
        self.alarm.space.send_if_modified(|space| {
            let next = match *space {
                _ if raised => Space::None,
                Space::None => Space::Returned(Instant::now()),
                Space::Returned(at) if at.elapsed() >= SETTLING => Space::Left,
                unchanged => unchanged,
            };
            if next == *space {
                return false;
            }
            match next {
                Space::None => {
                    warn!("etcd has no space left: no lock is granted until its alarm is disarmed")
                }
                Space::Returned(_) => info!("etcd has space again"),
                Space::Left => {}
            }
            self.metrics
                .out_of_space
                .set(i64::from(next != Space::Left));
            *space = next;
            true
        });
    }
}
