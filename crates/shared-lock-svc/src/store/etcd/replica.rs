//! This replica's life as etcd sees it: L on the liveness lease, and the seats of its waiters.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp, TxnOpResponse};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{info, warn};
use uuid::Uuid;

use super::{Core, fault::Fault, keys, proposal::Proposal};
use crate::lease::LeaseId;

/// etcd slows down when many keys hang on one lease.
const SEATS_PER_LEASE: usize = 500;

/// How long to wait before trying again to come alive.
const RETRY: Duration = Duration::from_millis(200);

pub(super) struct Replica {
    pub(super) id: String,
    presence: watch::Sender<Option<Arc<Presence>>>,
    doubt: Notify,
    /// Held while a lease for further seats is granted, so that a rush asks for one only.
    widening: tokio::sync::Mutex<()>,
}

/// One uninterrupted life of the replica. What it proposed dies with it.
pub(super) struct Presence {
    /// Create revision of L.
    pub(super) since: i64,
    born: Instant,
    /// Leases that waiters may sit on; L is on the first.
    benches: Mutex<Vec<Arc<Bench>>>,
}

struct Bench {
    lease: LeaseId,
    taken: AtomicUsize,
}

/// A waiter's right to put its entry on a liveness lease.
pub(super) struct Seat(Arc<Bench>);

impl Seat {
    pub(super) fn lease(&self) -> LeaseId {
        self.0.lease
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Replica {
    pub(super) fn new() -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            presence: watch::Sender::new(None),
            doubt: Notify::new(),
            widening: tokio::sync::Mutex::default(),
        }
    }

    /// Whether etcd sees this replica alive, as far as we know.
    pub(super) fn is_present(&self) -> bool {
        self.presence.borrow().is_some()
    }

    /// The present life, once there is one that began after the `refuted` one.
    pub(super) async fn presence(
        &self,
        refuted: i64,
        limit: Duration,
    ) -> Result<Arc<Presence>, Fault> {
        let is_later = |presence: &Arc<Presence>| presence.since > refuted;
        if self
            .presence
            .borrow()
            .as_ref()
            .is_some_and(|presence| !is_later(presence))
        {
            self.doubt.notify_one();
        }
        let mut watched = self.presence.subscribe();
        let came = timeout(
            limit,
            watched.wait_for(|presence| presence.as_ref().is_some_and(is_later)),
        )
        .await;
        let presence = came
            .ok()
            .and_then(Result::ok)
            .and_then(|presence| presence.clone());
        presence.ok_or_else(|| Fault::unreachable("this replica has no liveness lease"))
    }
}

impl Presence {
    pub(super) fn is_younger_than(&self, moment: Instant) -> bool {
        self.born > moment
    }

    fn seat(&self) -> Option<Seat> {
        let benches = self.benches();
        let bench = benches
            .iter()
            .find(|bench| bench.taken.load(Ordering::Relaxed) < SEATS_PER_LEASE)?;
        bench.taken.fetch_add(1, Ordering::Relaxed);
        Some(Seat(Arc::clone(bench)))
    }

    fn benches(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Bench>>> {
        self.benches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> Vec<LeaseId> {
        self.benches().iter().map(|bench| bench.lease).collect()
    }
}

impl Core {
    /// A place for one more waiter.
    pub(super) async fn seat(self: &Arc<Self>, presence: &Presence) -> Result<Seat, Fault> {
        loop {
            if let Some(seat) = presence.seat() {
                return Ok(seat);
            }
            let _widening = self.replica.widening.lock().await;
            if presence.seat().is_none() {
                let lease = self.grant_lease(self.options.liveness_ttl).await?.id;
                presence.benches().push(Arc::new(Bench {
                    lease,
                    taken: AtomicUsize::new(0),
                }));
            }
        }
    }

    /// Keeps the replica alive in etcd, and begins a new life when one is lost; for ever.
    pub(super) async fn live(self: &Arc<Self>) {
        loop {
            match self.come_alive().await {
                Ok(presence) => {
                    let presence = Arc::new(presence);
                    self.replica
                        .presence
                        .send_replace(Some(Arc::clone(&presence)));
                    self.stay_alive(&presence).await;
                    self.replica.presence.send_replace(None);
                    warn!("this replica's liveness lease is gone, its waiters queue again");
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    /// Leaves etcd, and every queue, at once.
    pub(super) async fn part(&self) {
        let presence = self.replica.presence.send_replace(None);
        for lease in presence.iter().flat_map(|presence| presence.leases()) {
            // Failing that, they expire.
            let _ = self.revoke_lease(lease).await;
        }
    }

    async fn come_alive(self: &Arc<Self>) -> Result<Presence, Fault> {
        let lease = self.grant_lease(self.options.liveness_ttl).await?.id;
        let key = keys::replica(&self.replica.id);
        let on_lease = PutOptions::new().with_lease(lease.0);
        let absent = Compare::create_revision(key.as_str(), CompareOp::Equal, 0);
        let put = TxnOp::put(key.as_str(), self.replica.id.as_str(), Some(on_lease));
        let create = Proposal::alone([absent], [put]).or_else([TxnOp::get(key, None)]);
        let answer = match self.etcd.propose(create).await {
            Ok(answer) => answer,
            Err(fault) => {
                self.revoke_lease_later(lease);
                return Err(fault);
            }
        };
        if answer.succeeded {
            info!(replica.id = %self.replica.id, "this replica is alive in etcd");
            let bench = Arc::new(Bench {
                lease,
                taken: AtomicUsize::new(0),
            });
            return Ok(Presence {
                since: answer.revision,
                born: Instant::now(),
                benches: Mutex::new(vec![bench]),
            });
        }
        // The key of an earlier life, whose lease was never heard of again.
        self.revoke_lease_later(lease);
        if let Some(TxnOpResponse::Get(get)) = answer.responses.first()
            && let Some(earlier) = get.kvs().first()
        {
            self.revoke_lease(LeaseId(earlier.lease())).await?;
        }
        Err(Fault::unreachable(
            "an earlier life of this replica is not over yet",
        ))
    }

    /// Returns when etcd says that the liveness lease is gone.
    async fn stay_alive(self: &Arc<Self>, presence: &Presence) {
        let every = self.options.liveness_ttl / 3;
        let mut next = Instant::now() + every;
        loop {
            // Doubt comes from a proposal that found L absent; a timeout is the usual case.
            let _ = timeout_at(next, self.replica.doubt.notified()).await;
            next = Instant::now() + every;
            // Soon enough for another member to be found while the lease still lives.
            if self.keep_benches(presence, every / 2).await {
                return;
            }
        }
    }

    /// Renews all liveness leases at once; whether the first of them is gone.
    async fn keep_benches(self: &Arc<Self>, presence: &Presence, limit: Duration) -> bool {
        let mut renewals = JoinSet::new();
        for lease in presence.leases() {
            let core = Arc::clone(self);
            renewals.spawn(async move { (lease, core.keep_lease_once(lease, limit).await) });
        }
        let mut gone = Vec::new();
        while let Some(renewed) = renewals.join_next().await {
            if let Ok((lease, Ok(None))) = renewed {
                gone.push(lease);
            }
        }
        let mut benches = presence.benches();
        let first = benches.first().map(|bench| bench.lease);
        benches.retain(|bench| !gone.contains(&bench.lease));
        first.is_none_or(|first| gone.contains(&first))
    }
}
