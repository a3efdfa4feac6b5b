//! The lock state machine on any register that can compare and swap: one document a lock, moved by
//! read, step, compare-and-swap.
//!
//! What makes it safe, whatever the register and however many replicas:
//!
//! - **The swap decides.** A step counts only if nobody has written since what it was made from was
//!   read. Every document differs from all before it, so that no swap takes an old one for the present one.
//! - **Nothing is ever deleted**: a free lock keeps its document, and its last token with it.
//! - **No wall clock decides.** A lease runs out when this replica has seen the same beat of it for its
//!   whole life and a margin, on a clock that only goes forward (`Sight`); the holder counts from before
//!   the write that gave it that beat was sent.
//! - **A write without an answer is looked for** by its name in what is read next; until it is found, or
//!   cannot land any more, nobody is told what came of it.
//!
//! Commands for one lock that come while a swap is on its way ride together in the next one.

mod acquire;
mod document;
mod handler;
mod names;
mod runner;
mod sight;
mod slot;
mod verbs;

use std::{
    collections::HashMap,
    future::Future,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    sync::{OnceCell, broadcast, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::slot::Slot;
use super::{
    StoreError,
    machine::{Clock, feed},
};
use crate::{
    lease::{LeaseId, LockEvent, LockKey},
    state::Step,
};

/// A place for documents that can compare and swap. Its client must not repeat a swap by itself.
#[async_trait]
pub trait Register: Send + Sync + 'static {
    /// What is there, and in which version; `None` if nothing was ever written.
    async fn read(&self, name: &str) -> Result<Option<Stored>, RegisterError>;

    /// Writes if the document is in the version that is expected; `None` expects nothing there.
    async fn swap(
        &self,
        name: &str,
        expected: Option<&Version>,
        document: &Value,
    ) -> Result<Swap, RegisterError>;

    /// Whether a read tells what the last swap before it wrote, always. Where it may tell something older,
    /// what has to be true is proven by a swap.
    fn reads_are_current(&self) -> bool;
}

/// A document and its version.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The version.
    pub version: Version,
    /// The document.
    pub document: Value,
}

/// What a register calls one writing of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

/// What became of a swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// It is written, in this version.
    Written(Version),
    /// The document was in another version. Whoever sent a swap twice may have written it the first time.
    Mismatch,
}

/// Why a register did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// It was not reached, or refuses for now: nothing was written, nor will be.
    #[error("the register is unavailable")]
    Unavailable(#[source] anyhow::Error),
    /// No answer, or none that tells: a swap may have written, or still may.
    #[error("the register did not tell what it did")]
    Unknown(#[source] anyhow::Error),
    /// It will never do this, or holds what is not ours. Nothing was written.
    #[error("the register refuses: {0}")]
    Refused(String),
}

/// How a store on a register behaves.
#[derive(Debug, Clone, Copy)]
pub struct RegisterOptions {
    /// How long the register may be silent.
    pub timeout: Duration,
    /// How often a lock is looked at while somebody waits for it here.
    pub poll: Duration,
    /// What moves a lock; another one only to show that a fault of it is found.
    pub step: Step,
    /// What its pauses are drawn from; `None` for chance.
    pub seed: Option<u64>,
    /// How fast its clock runs, beside a good one: other than 1 only to show what it may be.
    pub clock_rate: f64,
}

impl Default for RegisterOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            poll: Duration::from_millis(500),
            step: crate::state::step,
            seed: None,
            clock_rate: 1.0,
        }
    }
}

/// A store whose locks are documents in a register.
pub struct RegisterStore {
    core: Arc<Core>,
}

struct Core {
    register: Arc<dyn Register>,
    options: RegisterOptions,
    clock: Clock,
    chance: Mutex<StdRng>,
    events: broadcast::Sender<Arc<LockEvent>>,
    slots: Mutex<HashMap<LockKey, Arc<Slot>>>,
    epoch: OnceCell<String>,
    /// Set while the register was found silent: then nobody waits for it but one that asks again and again.
    silent: watch::Sender<bool>,
    /// No request is taken any more.
    closed: CancellationToken,
    /// Nothing is done any more: the store was dropped.
    gone: CancellationToken,
}

/// Why what was asked did not come to an answer; several may be told of one.
#[derive(Debug, Clone)]
enum Fault {
    Unavailable(String),
    Timeout,
    Refused(String),
}

impl RegisterStore {
    /// A store on `register`. Must be called on a tokio runtime.
    pub fn new(register: Arc<dyn Register>, options: RegisterOptions) -> Self {
        let core = Core {
            register,
            options,
            clock: Clock::start().at_rate(options.clock_rate),
            chance: Mutex::new(StdRng::seed_from_u64(
                options.seed.unwrap_or_else(rand::random),
            )),
            events: broadcast::Sender::new(feed::EVENTS),
            slots: Mutex::default(),
            epoch: OnceCell::new(),
            silent: watch::Sender::new(false),
            closed: CancellationToken::new(),
            gone: CancellationToken::new(),
        };
        Self {
            core: Arc::new(core),
        }
    }
}

impl Drop for RegisterStore {
    fn drop(&mut self) {
        self.core.gone.cancel();
    }
}

impl Core {
    /// The longest that a waiter may be missed before others take it for gone.
    fn patience(&self) -> Duration {
        (self.options.poll * 6).max(Duration::from_secs(6))
    }

    fn is_open(&self) -> Result<(), StoreError> {
        match self.closed.is_cancelled() {
            true => Err(closed().into()),
            false => Ok(()),
        }
    }

    fn slot(&self, key: &LockKey) -> Arc<Slot> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        // A new lock is a good moment to forget those that nobody has asked for in long.
        slots.retain(|_, slot| !slot.is_forgotten());
        let slot = Arc::new(Slot::new(key.clone()));
        slots.insert(key.clone(), Arc::clone(&slot));
        slot
    }

    /// Whether anything is being asked of the register.
    fn is_busy(&self) -> bool {
        self.slots().values().any(|slot| slot.is_busy())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<LockKey, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part of `whole`, another one each time.
    fn jitter(&self, whole: Duration, part: Range<f64>) -> Duration {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        whole.mul_f64(chance.random_range(part))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let gone = self.gone.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = task => (),
                () = gone.cancelled() => (),
            }
        });
    }

    /// Reads in time. A register that is silent is found out here, and once it is, nobody waits for it.
    async fn read(
        self: &Arc<Self>,
        name: &str,
        within: Duration,
    ) -> Result<Option<Stored>, RegisterError> {
        let mut silent = self.silent.subscribe();
        tokio::select! {
            biased;
            _ = silent.wait_for(|silent| *silent) => Err(is_silent()),
            answer = timeout(within, self.register.read(name)) => answer.unwrap_or_else(|_| {
                self.found_silent();
                Err(RegisterError::Unknown(anyhow::anyhow!("it is silent")))
            }),
        }
    }

    /// Swaps in time; what is left of the time is for looking what became of it.
    async fn swap(
        &self,
        name: &str,
        expected: Option<&Version>,
        document: &Value,
    ) -> Result<Swap, RegisterError> {
        if *self.silent.borrow() {
            return Err(is_silent());
        }
        let mut silent = self.silent.subscribe();
        let within = self.options.timeout * 3 / 4;
        let unknown = || Err(RegisterError::Unknown(anyhow::anyhow!("it is silent")));
        tokio::select! {
            biased;
            _ = silent.wait_for(|silent| *silent) => unknown(),
            answer = timeout(within, self.register.swap(name, expected, document)) => {
                answer.unwrap_or_else(|_| unknown())
            }
        }
    }

    /// From now on one task asks until the register answers; all others fail at once.
    fn found_silent(self: &Arc<Self>) {
        if self.silent.send_replace(true) {
            return;
        }
        tracing::warn!("the register is silent");
        let core = Arc::clone(self);
        self.spawn(async move {
            let within = core.options.timeout;
            while timeout(within, core.register.read(names::EPOCH))
                .await
                .is_err()
            {}
            core.silent.send_replace(false);
            tracing::info!("the register answers again");
        });
    }

    /// Names the life of the register, by a document that the first one who asks writes.
    async fn epoch(self: &Arc<Self>) -> Result<String, StoreError> {
        let named = self.epoch.get_or_try_init(|| async {
            let found = self.read(names::EPOCH, self.options.timeout).await;
            if let Some(epoch) = epoch_of(found.map_err(Fault::from)?)? {
                return Ok(epoch);
            }
            let epoch = Uuid::new_v4().to_string();
            let document = json!({ "format": document::FORMAT, "epoch": epoch });
            // Whoever was first is asked again by the next call; what became of this one tells the read.
            let written = self.swap(names::EPOCH, None, &document).await;
            if matches!(written, Ok(Swap::Written(_))) {
                return Ok(epoch);
            }
            let found = self.read(names::EPOCH, self.options.timeout).await;
            match epoch_of(found.map_err(Fault::from)?)? {
                Some(epoch) => Ok(epoch),
                None => match written {
                    Err(err) => Err(Fault::from(err)),
                    Ok(_) => Err(Fault::Timeout),
                },
            }
        });
        Ok(named.await.map_err(StoreError::from)?.clone())
    }

    /// Whether the register answers.
    async fn ready(self: &Arc<Self>) -> Result<(), StoreError> {
        let answer = self.read(names::EPOCH, self.options.timeout).await;
        answer.map_err(Fault::from)?;
        Ok(())
    }
}

fn epoch_of(found: Option<Stored>) -> Result<Option<String>, Fault> {
    let Some(stored) = found else {
        return Ok(None);
    };
    match stored.document["epoch"].as_str() {
        Some(epoch) => Ok(Some(epoch.to_owned())),
        None => Err(Fault::Refused(
            "the document `~epoch` is not one of ours".to_owned(),
        )),
    }
}

/// A lease id that nobody has: a positive int64, as etcd's, and not to be guessed.
fn fresh_lease() -> LeaseId {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    LeaseId(((high ^ low.rotate_left(32)) >> 1).cast_signed().max(1))
}

fn is_silent() -> RegisterError {
    RegisterError::Unavailable(anyhow::anyhow!("it is silent"))
}

fn closed() -> Fault {
    Fault::Unavailable("this replica is shutting down".to_owned())
}

impl From<RegisterError> for Fault {
    fn from(err: RegisterError) -> Self {
        match err {
            RegisterError::Unavailable(cause) => Self::Unavailable(format!("{cause:#}")),
            RegisterError::Unknown(_) => Self::Timeout,
            RegisterError::Refused(why) => Self::Refused(why),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) => Self::Unavailable(anyhow::Error::msg(why)),
            Fault::Timeout => Self::Timeout,
            Fault::Refused(why) => Self::Refused(why),
        }
    }
}
