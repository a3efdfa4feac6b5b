//! Locks on etcd: its leases, its transactions, its watch.
//!
//! [`table`] is the protocol, one function a row, and [`room`] says who fits. A request is a task
//! ([`acquire`], [`wait`], [`close`]) that lives at one replica; [`release`] and [`promote`] move a
//! lock on; [`view`] is what [`watch`] has seen and only ever says when to look. Nothing is decided
//! but by the compares of a transaction, or by a linearizable read.
//!
//! Replicas of tentens-tech/shared-lock on the same etcd are excluded as well: the holder key and
//! its bytes are theirs. They have no queue, so one of them may take a lock that expired before
//! the head of the queue does; at a hand-over they cannot.

mod options;

mod keys;
mod proposal;
mod records;
mod room;
mod sight;
mod table;

mod acquire;
mod anchor;
mod claims;
mod close;
mod confirm;
mod deadlock;
mod force;
mod inspect;
mod listing;
mod look;
mod owed;
mod promote;
mod release;
mod requests;
mod sessions;
mod several;
mod wait;

mod epoch;
mod keepalive;
mod leases;
mod pool;
mod replica;
mod revocations;
mod tombstones;
mod view;
mod watch;

mod alarm;
mod batch;
mod client;
mod fault;
mod metrics;

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use opentelemetry::context::FutureExt;
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use self::{
    client::Etcd,
    epoch::Epoch,
    fault::Fault,
    keepalive::{KeepAlives, Questions},
    keys::LockPath,
    owed::Owed,
    pool::Pools,
    promote::Promotions,
    records::Cause,
    replica::Replica,
    requests::{Caller, Requests},
    revocations::{Doomed, Revocations},
    table::Parting,
    tombstones::Tombstones,
    view::View,
};
pub use self::{
    metrics::EtcdMetrics,
    options::{EtcdOptions, EtcdTls},
};
use super::{
    Abilities, ForceRelease, LockFeed, LockIndex, LockStore, Release, Renewal, SessionStore,
    StoreError,
};
use crate::lease::{
    AcquireAllRequest, AcquireRequest, Acquisition, AllAcquisition, Claim, LeaseId, LockEvent,
    LockKey, LockPage, LockView, Mode, PageRequest, RequestId, Session, SessionRequest, Verified,
};

/// Locks that one request may take at once: etcd compares no more in one transaction.
const MOST_LOCKS: usize = 30;

/// How long [`EtcdStore::close`] waits for requests to leave the queues.
const CLOSING: Duration = Duration::from_secs(5);

/// Events that a slow receiver may be behind.
const EVENTS: usize = 4096;

/// A lock store on etcd, for any number of replicas.
///
/// All its work runs on the runtime that it was connected on; dropping it ends that work without
/// a word to etcd, as a crash would, and [`LockStore::close`] takes leave first.
pub struct EtcdStore {
    core: Arc<Core>,
    _running: DropGuard,
}

struct Core {
    options: EtcdOptions,
    etcd: Arc<Etcd>,
    keepalives: KeepAlives,
    pools: Pools,
    revocations: Revocations,
    replica: Replica,
    view: Arc<View>,
    requests: Requests<acquire::Name, Acquisition>,
    groups: Requests<RequestId, AllAcquisition>,
    promotions: Promotions,
    tombstones: Tombstones,
    owed: Owed,
    epoch: Epoch,
    tasks: Tasks,
    /// No request may begin or wait any more.
    closing: CancellationToken,
    events: broadcast::Sender<Arc<LockEvent>>,
    /// Somebody wants to know how far the watch is.
    asked: Notify,
}

/// Tasks on the store's runtime, which end with the store.
struct Tasks {
    runtime: Handle,
    stopped: CancellationToken,
}

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped.clone();
        self.runtime
            .spawn(async move { stopped.run_until_cancelled_owned(task).await });
    }
}

impl EtcdStore {
    /// Begins to work with etcd on the present runtime, whether or not etcd is there yet.
    ///
    /// # Errors
    /// The options cannot work: no endpoint, an unreadable certificate, a tombstone TTL too short.
    pub async fn connect(options: EtcdOptions) -> anyhow::Result<Self> {
        options.check()?;
        let metrics = match &options.metrics {
            Some(metrics) => metrics.clone(),
            None => EtcdMetrics::new()?,
        };
        let stopped = CancellationToken::new();
        let (keepalives, questions) = KeepAlives::new();
        let (revocations, doomed) = Revocations::new();
        let replica = Replica::new();
        let core = Arc::new(Core {
            etcd: Arc::new(Etcd::new(options.clone(), metrics)),
            keepalives,
            pools: Pools::default(),
            revocations,
            options,
            view: Arc::new(View::of(&replica.id)),
            replica,
            requests: Requests::default(),
            groups: Requests::default(),
            promotions: Promotions::default(),
            tombstones: Tombstones::default(),
            owed: Owed::default(),
            epoch: Epoch::default(),
            tasks: Tasks {
                runtime: Handle::current(),
                stopped: stopped.clone(),
            },
            closing: CancellationToken::new(),
            events: broadcast::Sender::new(EVENTS),
            asked: Notify::new(),
        });
        core.start(questions, doomed);
        Ok(Self {
            core,
            _running: stopped.drop_guard(),
        })
    }

    /// What a caller is told.
    async fn outcome_of<A: Clone>(&self, caller: Caller<A>) -> Result<A, StoreError> {
        let stopped = &self.core.tasks.stopped;
        match stopped.run_until_cancelled(caller.outcome()).await {
            Some(outcome) => Ok(outcome?),
            None => Err(Fault::unreachable("the store is closed").into()),
        }
    }

    /// Runs on the store's own runtime: connections belong to the runtime that made them, and
    /// callers come from others.
    async fn run<T, F>(&self, work: impl FnOnce(Arc<Core>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let work = work(Arc::clone(&self.core))
            .in_current_span()
            .with_current_context();
        let stopped = self.core.tasks.stopped.clone();
        let done = self
            .core
            .tasks
            .runtime
            .spawn(async move { stopped.run_until_cancelled_owned(work).await });
        match done.await {
            Ok(Some(done)) => Ok(done?),
            Ok(None) | Err(_) => Err(Fault::unreachable("the store is closed").into()),
        }
    }
}

impl Core {
    fn start(self: &Arc<Self>, questions: Vec<Questions>, doomed: Doomed) {
        for questions in questions {
            let core = Arc::clone(self);
            self.tasks
                .spawn(async move { core.ask_about_leases(questions).await });
        }
        let core = Arc::clone(self);
        self.tasks
            .spawn(async move { core.revoke_leases(doomed).await });
        let core = Arc::clone(self);
        self.tasks.spawn(async move { core.etcd.probe().await });
        let core = Arc::clone(self);
        self.tasks
            .spawn(async move { core.etcd.listen_for_alarm().await });
        let core = Arc::clone(self);
        self.tasks.spawn(async move { core.pay_tombstones().await });
        let core = Arc::clone(self);
        self.tasks.spawn(async move {
            core.closing.run_until_cancelled(core.live()).await;
        });
        let core = Arc::clone(self);
        self.tasks.spawn(async move {
            core.closing.run_until_cancelled(core.keep_spares()).await;
        });
        let core = Arc::clone(self);
        self.tasks.spawn(async move { core.follow().await });
        let core = Arc::clone(self);
        self.tasks.spawn(async move { core.tend().await });
        let core = Arc::clone(self);
        self.tasks.spawn(async move { core.break_rings().await });
    }

    fn is_open(&self) -> Result<(), Fault> {
        if self.closing.is_cancelled() {
            Err(Fault::unreachable("this replica is closing"))
        } else {
            Ok(())
        }
    }

    async fn is_ready(&self) -> Result<(), Fault> {
        self.is_open()?;
        self.etcd
            .get(
                keys::EPOCH.as_bytes(),
                etcd_client::GetOptions::new().with_keys_only(),
            )
            .await?;
        if !self.view.is_complete() {
            return Err(Fault::unreachable("the locks are not listed yet"));
        }
        if !self.replica.is_present() {
            return Err(Fault::unreachable("this replica has no liveness lease"));
        }
        Ok(())
    }

    async fn release(self: &Arc<Self>, key: &LockKey, release: &Release) -> Result<bool, Fault> {
        let path = LockPath::of(key);
        let parting = |cause| Parting {
            note: release.note.as_ref(),
            trace_id: release.trace_id.as_deref(),
            ..Parting::because(cause)
        };
        match &release.claim {
            Claim::Request(request) => {
                self.end_request(&path, request, parting(Cause::Ended))
                    .await
            }
            Claim::Tenure {
                lease_id,
                fencing_token,
            } => match claims::named(*lease_id, *fencing_token) {
                Some(named) => {
                    self.end_tenure(&path, named, parting(Cause::Released))
                        .await
                }
                None => Ok(false),
            },
        }
    }
}

#[async_trait]
impl LockStore for EtcdStore {
    async fn acquire(&self, request: AcquireRequest) -> Result<Acquisition, StoreError> {
        self.core.is_open()?;
        check_weight(request.mode)?;
        if self.core.has_ended_unwritten(&request.name()) {
            return Ok(Acquisition::RequestEnded);
        }
        let (caller, fresh) = self.core.requests.enter(request.name());
        if let Some(entry) = fresh {
            let serving = acquire::serve(Arc::clone(&self.core), entry, request);
            self.core
                .tasks
                .spawn(serving.in_current_span().with_current_context());
        }
        self.outcome_of(caller).await
    }

    async fn acquire_all(&self, request: AcquireAllRequest) -> Result<AllAcquisition, StoreError> {
        self.core.is_open()?;
        if !(1..=MOST_LOCKS).contains(&request.locks.len()) {
            let allowed = format!("1 to {MOST_LOCKS} locks are taken at once");
            return Err(StoreError::Refused(allowed));
        }
        request
            .locks
            .iter()
            .try_for_each(|lock| check_weight(lock.mode))?;
        let ended = |key: &LockKey| {
            let name = (key.clone(), request.request_id.clone());
            self.core.has_ended_unwritten(&name)
        };
        if request.locks.iter().any(|lock| ended(&lock.key)) {
            return Ok(AllAcquisition::RequestEnded);
        }
        let (caller, fresh) = self.core.groups.enter(request.request_id.clone());
        if let Some(entry) = fresh {
            let serving = several::serve(Arc::clone(&self.core), entry, request);
            self.core
                .tasks
                .spawn(serving.in_current_span().with_current_context());
        }
        self.outcome_of(caller).await
    }

    async fn verify(&self, key: &LockKey, claim: &Claim) -> Result<Option<Verified>, StoreError> {
        let (path, claim) = (LockPath::of(key), claim.clone());
        self.run(|core| async move { core.verify(&path, &claim).await })
            .await
    }

    async fn force_release(
        &self,
        key: &LockKey,
        order: ForceRelease,
    ) -> Result<LockView, StoreError> {
        let path = LockPath::of(key);
        self.run(|core| async move { core.force_release(&path, &order).await })
            .await
    }

    async fn keep_lease_alive(&self, lease: LeaseId) -> Result<Option<Renewal>, StoreError> {
        self.run(|core| async move { core.keep_any(lease).await })
            .await
    }

    async fn keep_alive(
        &self,
        key: &LockKey,
        lease: LeaseId,
    ) -> Result<Option<Renewal>, StoreError> {
        let path = LockPath::of(key);
        self.run(|core| async move { core.keep_tenure(&path, lease).await })
            .await
    }

    async fn release(&self, key: &LockKey, release: Release) -> Result<bool, StoreError> {
        let key = key.clone();
        self.run(|core| async move { core.release(&key, &release).await })
            .await
    }

    async fn inspect(&self, key: &LockKey) -> Result<LockView, StoreError> {
        let path = LockPath::of(key);
        self.run(|core| async move { core.view_of(&path).await })
            .await
    }

    async fn token_epoch(&self) -> Result<String, StoreError> {
        if let Some(epoch) = self.core.known_epoch() {
            return Ok(epoch);
        }
        self.run(|core| async move { core.token_epoch().await })
            .await
    }

    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.run(|core| async move { core.is_ready().await }).await
    }

    async fn close(&self) {
        self.core.closing.cancel();
        let taking_leave = self.run(|core| async move {
            // What etcd keeps waiting is left to the expiry of its lease.
            let _ = timeout(CLOSING, async {
                tokio::join!(core.requests.empty(), core.groups.empty())
            })
            .await;
            core.part().await;
            core.drop_spares();
            let _ = timeout(CLOSING, core.revocations.done()).await;
            Ok(())
        });
        // It cannot fail, but for a store that is dropped at the same time.
        let _ = taking_leave.await;
    }
}

#[async_trait]
impl SessionStore for EtcdStore {
    async fn open_session(&self, request: SessionRequest) -> Result<Session, StoreError> {
        self.core.is_open()?;
        self.run(|core| async move { core.open_session(request).await })
            .await
    }

    async fn end_session(&self, id: LeaseId) -> Result<bool, StoreError> {
        self.run(|core| async move { core.end_session(id).await })
            .await
    }
}

#[async_trait]
impl LockIndex for EtcdStore {
    async fn list(&self, page: &PageRequest) -> Result<LockPage, StoreError> {
        let page = page.clone();
        self.run(|core| async move { core.list(&page).await }).await
    }
}

impl LockFeed for EtcdStore {
    fn events(&self) -> broadcast::Receiver<Arc<LockEvent>> {
        self.core.events.subscribe()
    }
}

/// A permit that weighs more than all may would wait for ever.
fn check_weight(mode: Mode) -> Result<(), StoreError> {
    match mode {
        Mode::Permit { limit, weight } if weight > limit => Err(StoreError::Refused(format!(
            "a weight of {weight} is more than the limit of {limit}"
        ))),
        _ => Ok(()),
    }
}
