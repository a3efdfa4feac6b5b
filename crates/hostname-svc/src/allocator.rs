//! Gives out numbers: queue → lock → counter → keys → records → answers.
//!
//! Requests for one prefix stand in one queue; a task takes the lock of the prefix once for as many of
//! them as there are, and runs a cycle for each batch.

mod cycle;
mod driver;
mod error;
mod hold;
mod plan;
mod queue;
#[cfg(test)]
mod simulation;
mod stem;
mod trace;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod unreadable;
mod wish;
mod worker;
#[cfg(test)]
pub(crate) mod world;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

pub(crate) use self::driver::{json, read};
pub(crate) use self::stem::stem_owner;
use self::{
    cycle::{Answer, Job},
    driver::Pace,
    queue::{BatchLimits, Place, Queue, Wait},
    worker::Worker,
};
pub use self::{
    error::AllocateError,
    wish::{Remarks, Want, Wish},
};
use crate::{
    documents::{CounterDocument, Facts, GivenUp, KeyHash, Moment, Owner, Record},
    hostname::Prefix,
    locks::{LockError, PrefixLocks},
    metrics::Metrics,
    policy::{Policies, Policy},
    store::DocumentStore,
};

/// What an entry weighs in the counter beside what its caller says, and each of its numbers, in bytes.
const ENTRY_BYTES: usize = 512;
const NUMBER_BYTES: usize = 20;
/// What a batch may weigh: Vault's storage takes entries of up to 1 MiB.
const BATCH_BYTES: usize = 384 * 1024;
/// How long a caller is waited for beyond his time: his answer may be on its way.
const GRACE: Duration = Duration::from_millis(50);

/// How the numbers are given out.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a lock is kept while others may want it.
    pub max_hold: Duration,
    /// Time of a cycle, as of a caller.
    pub budget: Duration,
    /// Numbers given out by one move of the counter.
    pub max_batch: usize,
    /// Requests that may wait for one prefix, and for all of them together.
    pub max_queue: usize,
    /// Requests that may wait in the whole process.
    pub max_waiting: usize,
    /// Calls to the store at a time, for one prefix.
    pub parallel: usize,
    /// How long the store may be silent.
    pub store_silence: Duration,
    /// What to do while the lock service is away.
    pub without_locks: WithoutLocks,
    /// How long a prefix is left alone before what is pending is cleared away.
    pub idle: Duration,
    /// What holds for which prefix.
    pub policies: Policies,
}

/// What to do while the lock service is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutLocks {
    /// Refuse new hostnames.
    Refuse,
    /// Go on by check-and-set alone: as safe, and slower where replicas meet.
    GoOn,
}

/// How an allocation ended.
#[derive(Debug)]
pub enum Allocation {
    /// These are the caller's, in the order of his numbers.
    Named(Vec<Record>),
    /// The idempotency key was used with another body.
    KeyReused,
    /// There will be no name.
    GivenUp(GivenUp),
}

/// The queues of all prefixes.
pub struct Allocator {
    shared: Arc<Shared>,
    runtime: Handle,
}

/// What the tasks of all prefixes share.
struct Shared {
    store: Arc<dyn DocumentStore>,
    locks: PrefixLocks,
    metrics: Metrics,
    instance: String,
    limits: SharedLimits,
    queues: Mutex<HashMap<Prefix, Arc<Queue>>>,
    closing: watch::Sender<bool>,
}

struct SharedLimits {
    max_hold: Duration,
    budget: Duration,
    batch: BatchLimits,
    max_queue: usize,
    max_waiting: usize,
    pace: Pace,
    without_locks: WithoutLocks,
    idle: Duration,
    policies: Policies,
}

impl Allocator {
    /// An allocator whose tasks run on the current runtime.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(
        store: Arc<dyn DocumentStore>,
        locks: PrefixLocks,
        metrics: Metrics,
        instance: String,
        limits: Limits,
    ) -> Self {
        let limits = SharedLimits {
            max_hold: limits.max_hold,
            budget: limits.budget,
            batch: BatchLimits {
                numbers: limits.max_batch,
                bytes: BATCH_BYTES,
            },
            max_queue: limits.max_queue,
            max_waiting: limits.max_waiting,
            pace: Pace {
                parallel: limits.parallel,
                silence: limits.store_silence,
            },
            without_locks: limits.without_locks,
            idle: limits.idle,
            policies: limits.policies,
        };
        Self {
            shared: Arc::new(Shared {
                store,
                locks,
                metrics,
                instance,
                limits,
                queues: Mutex::default(),
                closing: watch::Sender::new(false),
            }),
            runtime: Handle::current(),
        }
    }

    /// Gives `wish` a number, by `deadline`. With a key the same wish is given the same number for ever.
    ///
    /// # Errors
    /// Nobody was given a number, or the answer did not come in time; see [`AllocateError`].
    pub async fn allocate(
        &self,
        wish: Wish,
        key: Option<KeyHash>,
        request_id: &str,
        deadline: Instant,
    ) -> Result<Allocation, AllocateError> {
        match self.ask(wish, key, request_id, deadline).await? {
            Answer::Named(records) => Ok(Allocation::Named(records)),
            Answer::KeyReused => Ok(Allocation::KeyReused),
            Answer::GivenUp(why) => Ok(Allocation::GivenUp(why)),
            Answer::Deleted => Err(AllocateError::Deleted("document of the idempotency key")),
            Answer::Unreadable(which) => Err(AllocateError::Unreadable(which)),
            Answer::Raised(_) => Err(AllocateError::Internal),
        }
    }

    /// Sees to it that no number up to `floor` is given out any more, and gives the counter.
    ///
    /// # Errors
    /// See [`AllocateError`].
    pub async fn raise(
        &self,
        prefix: Prefix,
        floor: u64,
        request_id: &str,
        deadline: Instant,
    ) -> Result<CounterDocument, AllocateError> {
        let wish = Wish {
            prefix,
            want: Want::Floor(floor),
            remarks: Remarks::default(),
        };
        match self.ask(wish, None, request_id, deadline).await? {
            Answer::Raised(counter) => Ok(*counter),
            _ => Err(AllocateError::Internal),
        }
    }

    async fn ask(
        &self,
        wish: Wish,
        key: Option<KeyHash>,
        request_id: &str,
        deadline: Instant,
    ) -> Result<Answer, AllocateError> {
        let prefix = wish.prefix.clone();
        let (job, bytes) = self.job(wish, key, request_id)?;
        let mut wait = self.enqueue(prefix, job, bytes, deadline)?;
        match timeout_at(deadline + GRACE, &mut wait.answer).await {
            Ok(Ok(answer)) => answer,
            // Whoever is told nothing has left the queue because his time was over.
            _ if !wait.begun.load(Ordering::Relaxed) => Err(LockError::Timeout.into()),
            Ok(Err(_)) => Err(AllocateError::Internal),
            Err(_) => Err(AllocateError::Timeout),
        }
    }

    /// What holds for `prefix` at present.
    pub(crate) fn policy(&self, prefix: &Prefix) -> Policy {
        self.shared.limits.policies.of(prefix)
    }

    /// Settles and clears what is pending at `prefix`, whoever left it.
    pub(crate) async fn sweep(&self, prefix: Prefix) {
        let shared = Arc::clone(&self.shared);
        Worker::new(shared, prefix, Arc::default()).sweep().await;
    }

    /// Ends the tasks: they clear away what is pending and give their locks back.
    pub async fn close(&self, within: Duration) {
        self.shared.closing.send_replace(true);
        let deadline = Instant::now() + within;
        while !self.shared.queues().is_empty() && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn job(
        &self,
        wish: Wish,
        key: Option<KeyHash>,
        request_id: &str,
    ) -> Result<(Job, usize), AllocateError> {
        let body = serde_json::to_vec(&wish).map_err(|_| AllocateError::Internal)?;
        let bytes = body.len() + ENTRY_BYTES + NUMBER_BYTES * wish.want.numbers();
        let job = Job {
            id: 0,
            policy: Arc::new(self.shared.limits.policies.of(&wish.prefix)),
            owner: key.map_or_else(|| Owner::Request(request_id.to_owned()), Owner::Key),
            body_hash: hex::encode(Sha256::digest(&body)),
            want: wish.want,
            facts: Facts {
                request_id: request_id.to_owned(),
                created_at: Moment::now(),
                instance: self.shared.instance.clone(),
                requested_by: wish.remarks.requested_by,
                reason: wish.remarks.reason,
                labels: wish.remarks.labels,
            },
        };
        Ok((job, bytes))
    }

    /// Queues a job, and starts the task of its prefix when there is none.
    fn enqueue(
        &self,
        prefix: Prefix,
        job: Job,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Wait, AllocateError> {
        let waiting = &self.shared.metrics.queue_depth;
        if usize::try_from(waiting.get()).unwrap_or(0) >= self.shared.limits.max_waiting {
            return Err(AllocateError::QueueFull);
        }
        let place = Place::taken(waiting);
        let limit = self.shared.limits.max_queue;
        let mut queues = self.shared.queues();
        if let Some(queue) = queues.get(&prefix) {
            return queue.push(job, bytes, deadline, place, limit);
        }
        let queue = Arc::<Queue>::default();
        let wait = queue.push(job, bytes, deadline, place, limit)?;
        queues.insert(prefix.clone(), Arc::clone(&queue));
        drop(queues);
        let running = Running {
            shared: Arc::clone(&self.shared),
            prefix: prefix.clone(),
            queue: Arc::clone(&queue),
        };
        let worker = Worker::new(Arc::clone(&self.shared), prefix, queue);
        self.runtime.spawn(async move {
            let _running = running;
            worker.run().await;
        });
        Ok(wait)
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, HashMap<Prefix, Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the task of a prefix end, unless somebody has come.
    fn retire(&self, prefix: &Prefix, queue: &Queue) -> bool {
        let mut queues = self.queues();
        let idle = queue.last_deadline().is_none();
        if idle {
            queues.remove(prefix);
        }
        idle
    }

    fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut closing = self.closing.subscribe();
        async move {
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }
}

/// A task of a prefix that runs; should it panic, its queue must not be left without one.
struct Running {
    shared: Arc<Shared>,
    prefix: Prefix,
    queue: Arc<Queue>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut queues = self.shared.queues();
        let ours = |queue: &Arc<Queue>| Arc::ptr_eq(queue, &self.queue);
        if queues.get(&self.prefix).is_some_and(ours) {
            queues.remove(&self.prefix);
            drop(queues);
            self.queue.fail_all(&AllocateError::Internal);
        }
    }
}
