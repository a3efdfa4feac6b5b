//! A lease and for how long it is surely ours: renewed until it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{Instrument, debug, info_span, warn};

use crate::clock::{Moment, sleep_until};
use crate::keeper::Keeper;
use crate::transport::{Failure, Message, Transport, pause};
use crate::wire::KeptAliveBody;

/// A lease and for how long it is surely ours.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) id: String,
    validity: watch::Sender<Validity>,
}

#[derive(Debug, Clone, Copy)]
struct Validity {
    until: Moment,
    lost: bool,
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
    /// A lease that `keeper` keeps alive by sending `renewal` every third of its TTL.
    pub(crate) fn kept_by(keeper: &Keeper, id: String, life: Life, renewal: Message) -> Arc<Self> {
        let until = life.until();
        let (validity, _) = watch::channel(Validity { until, lost: false });
        let lease = Arc::new(Self { id, validity });
        keeper.run(renew(
            keeper.transport(),
            Arc::clone(&lease),
            life.ttl(),
            renewal,
        ));
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

    /// From here on it counts as lost, and is renewed no more.
    pub(crate) fn lose(&self) {
        self.validity.send_modify(|validity| validity.lost = true);
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

/// Renews every third of the TTL until the lease is lost.
async fn renew(transport: Arc<Transport>, lease: Arc<Lease>, ttl: Duration, renewal: Message) {
    let lost = async {
        let mut validity = lease.validity.subscribe();
        let _ = validity.wait_for(|validity| validity.lost).await;
    };
    tokio::select! {
        () = lost => (),
        () = keep(&transport, &lease, ttl, &renewal) => lease.lose(),
    }
}

/// Until no renewal came back in time, or the service knows the lease no more.
async fn keep(transport: &Transport, lease: &Lease, ttl: Duration, renewal: &Message) {
    let mut ttl = ttl;
    let mut failures = 0;
    // A lease that was granted while it waited may be older than its TTL says.
    let mut next = Moment::now() + (ttl / 3).min(lease.until().left() / 2);
    loop {
        let until = lease.until();
        sleep_until(next.min(until)).await;
        let sent = Moment::now();
        if sent >= until {
            warn!(
                lock.renewals_failed = failures,
                "a lock was lost: no renewal came back in time"
            );
            return;
        }
        let timeout = transport.request_timeout.min(ttl / 3).min(until.left());
        let span = info_span!(parent: None, "lock.keepalive", otel.kind = "client");
        let asked = transport.send::<KeptAliveBody>(renewal, timeout);
        let answer = tokio::select! {
            answer = asked.instrument(span) => answer,
            // The request's own time-out stops during a suspend.
            () = sleep_until(until) => continue,
        };
        match answer {
            Ok(kept) => {
                ttl = Duration::from_millis(kept.ttl_ms);
                let until = sent + Duration::from_millis(kept.remaining_ms) - margin(ttl);
                lease
                    .validity
                    .send_modify(|validity| validity.until = until);
                failures = 0;
                next = sent + ttl / 3;
            }
            Err(Failure::Refused(problem)) if problem.says_gone() => {
                warn!("a lock was lost: the service knows its lease no more");
                return;
            }
            Err(failure) => {
                failures += 1;
                debug!(error = %failure.into_error(), lock.renewals_failed = failures, "a renewal failed");
                // Many tries before the lease is over, however short it is.
                next = Moment::now() + pause(failures).min(ttl / 10);
            }
        }
    }
}

/// What is given away for safety: clocks that run at different speeds, a scheduler that is late.
fn margin(ttl: Duration) -> Duration {
    (ttl / 20).max(Duration::from_millis(200))
}
