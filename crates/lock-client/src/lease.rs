//! A lease and for how long it is surely ours: renewed until it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Moment, sleep_until};
use crate::keeper::Keeper;
use crate::key::Key;
use crate::renewal::{Member, Name, Tending};

/// A lease and for how long it is surely ours.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) id: String,
    name: Name,
    validity: watch::Sender<Validity>,
    tending: Arc<Tending>,
}

#[derive(Debug, Clone, Copy)]
struct Validity {
    until: Moment,
    lost: bool,
}

/// What a lease is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// A tenure, by the lock and its token.
    Lock(Key, u64),
    /// Whatever hangs on it.
    Session,
    /// A lock of the tentens-tech/shared-lock wire.
    LeaseWire,
}

/// What a grant says of the lease's life, and when it was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) sent: Moment,
    pub(crate) ttl_ms: u64,
    pub(crate) remaining_ms: u64,
    pub(crate) elapsed_ms: u64,
}

impl Life {
    fn ttl(self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// The lease runs on the server since some moment after `sent`, so counting from there never
    /// counts too much.
    fn until(self) -> Moment {
        let answered = self.sent + Duration::from_millis(self.elapsed_ms);
        answered + Duration::from_millis(self.remaining_ms) - margin(self.ttl())
    }
}

impl Lease {
    /// A lease that `keeper` renews every third of its TTL.
    pub(crate) fn kept_by(keeper: &Keeper, id: String, life: Life, purpose: Purpose) -> Arc<Self> {
        let until = life.until();
        let (validity, _) = watch::channel(Validity { until, lost: false });
        let name = Name {
            id: id.as_str().into(),
            of_lease_wire: matches!(purpose, Purpose::LeaseWire),
        };
        let lease = Arc::new(Self {
            id,
            name,
            validity,
            tending: keeper.tending(),
        });
        let member = Member {
            lease: Arc::downgrade(&lease),
            lock: match purpose {
                Purpose::Lock(key, token) => Some((key, token)),
                Purpose::Session | Purpose::LeaseWire => None,
            },
        };
        lease.tending.begin(&lease.name, member, life.ttl());
        lease
    }

    /// Time for which it is surely ours even if no renewal succeeds any more.
    pub(crate) fn remaining(&self) -> Duration {
        let validity = *self.validity.borrow();
        if validity.lost {
            Duration::ZERO
        } else {
            validity.until.left()
        }
    }

    pub(crate) fn until(&self) -> Moment {
        self.validity.borrow().until
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.validity.borrow().lost
    }

    /// A renewal came back in time. One that is too late changes nothing: `lost` was told already.
    pub(crate) fn extend(&self, until: Moment) {
        self.validity.send_if_modified(|validity| {
            let in_time = !validity.lost && !validity.until.left().is_zero();
            if in_time {
                validity.until = until;
            } else {
                validity.lost = true;
            }
            true
        });
    }

    /// From here on it counts as lost; `false` if it did so before.
    pub(crate) fn mark_lost(&self) -> bool {
        let mark = |validity: &mut Validity| !std::mem::replace(&mut validity.lost, true);
        self.validity.send_if_modified(mark)
    }

    /// From here on it counts as lost, and is not renewed for this any more.
    pub(crate) fn lose(&self) {
        if self.mark_lost() {
            self.tending.leave(&self.name);
        }
    }

    /// It is over, with all that hangs on it.
    pub(crate) fn end(&self) {
        self.mark_lost();
        self.tending.end(&self.name);
    }

    /// Resolves when it is lost, or when its time is over, whoever was to renew it.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut validity = self.validity.subscribe();
        async move {
            loop {
                let now = *validity.borrow_and_update();
                if now.lost || now.until.left().is_zero() {
                    return;
                }
                tokio::select! {
                    changed = validity.changed() => if changed.is_err() { return },
                    () = sleep_until(now.until) => (),
                }
            }
        }
    }
}

/// What is given away for safety: clocks that run at different speeds, a scheduler that is late.
pub(crate) fn margin(ttl: Duration) -> Duration {
    (ttl / 20).max(Duration::from_millis(200))
}
