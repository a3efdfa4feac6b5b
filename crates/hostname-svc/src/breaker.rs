//! Whether a dependency answers, found out by asking it twice a second.
//!
//! Without that each caller finds out alone, one after the other: whoever waits for the lock of a prefix
//! behind another replica that waits for a silent Vault would be told seconds later. So a breaker opens
//! when a probe shows the dependency away; from then on whoever needs it is told at once, whether he asks
//! or waits, until a probe is answered again.

use std::{
    convert::Infallible,
    fmt::Display,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus::{IntCounter, IntGauge};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::info;

/// Between two probes of a dependency that answers, and of one that does not.
const PAUSE: Duration = Duration::from_millis(500);
const SHORT_PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked whether the dependency has become silent.
const TICK: Duration = Duration::from_millis(100);

/// How long a dependency may refuse connections before it is taken for away: one connection that is not
/// made in time, after a pause of this process or at a restart of Vault, is no outage.
pub const REFUSAL: Duration = Duration::from_millis(400);

/// Opens while a dependency is away, with the reason. Clones are one breaker.
#[derive(Debug, Clone)]
pub struct Breaker<E> {
    outage: watch::Sender<Option<E>>,
    answers: Arc<AtomicU64>,
}

/// What a probe found instead of an answer.
#[derive(Debug)]
pub struct Fault<E> {
    /// The reason.
    pub error: E,
    /// For how long it must have been so before it is an outage.
    pub patience: Duration,
}

/// How a dependency is watched.
pub struct Watch<E> {
    /// What it is called.
    pub name: &'static str,
    /// How long it may be silent.
    pub silence: Duration,
    /// Why it is away when it is silent.
    pub silent: E,
    /// 1 while it answers.
    pub up: IntGauge,
    /// How often it went away.
    pub outages: IntCounter,
}

impl<E: Clone + Display> Breaker<E> {
    /// A breaker that is closed.
    pub fn closed() -> Self {
        Self {
            outage: watch::Sender::new(None),
            answers: Arc::default(),
        }
    }

    /// Why the dependency is away, if it is.
    pub fn outage(&self) -> Option<E> {
        self.outage.borrow().clone()
    }

    /// Resolves with the reason when the dependency is away.
    pub async fn away(&self) -> E {
        let mut outage = self.outage.subscribe();
        loop {
            if let Some(error) = outage.borrow_and_update().clone() {
                return error;
            }
            if outage.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Notes that the dependency answered somebody: it is not silent, however long a probe takes.
    pub fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Probes the dependency for ever, and opens and closes the breaker.
    pub async fn watch<F>(self, watch: Watch<E>, probe: impl Fn() -> F) -> Infallible
    where
        F: Future<Output = Result<(), Fault<E>>>,
    {
        watch.up.set(1);
        loop {
            let mut trouble = Trouble::new(&self);
            while let Err(fault) = self.ask(&watch, &mut trouble, probe()).await {
                trouble.lasts();
                if trouble.time >= fault.patience {
                    self.open(&watch, fault.error);
                }
                sleep(SHORT_PAUSE).await;
                trouble.lasts();
            }
            self.close(&watch);
            sleep(PAUSE).await;
        }
    }

    /// The answer to one probe; meanwhile the dependency may turn out to be silent.
    async fn ask(
        &self,
        watch: &Watch<E>,
        trouble: &mut Trouble<'_>,
        probe: impl Future<Output = Result<(), Fault<E>>>,
    ) -> Result<(), Fault<E>> {
        let mut probe = pin!(probe);
        loop {
            match timeout(TICK, &mut probe).await {
                Ok(answer) => return answer,
                Err(_) => trouble.lasts(),
            }
            if trouble.time >= watch.silence {
                self.open(watch, watch.silent.clone());
            }
        }
    }

    fn open(&self, watch: &Watch<E>, error: E) {
        self.outage.send_if_modified(|outage| {
            let was_closed = outage.is_none();
            if was_closed {
                watch.up.set(0);
                watch.outages.inc();
                info!(
                    dependency = watch.name,
                    "calls that need {} fail at once until it answers: {error}", watch.name
                );
            }
            *outage = Some(error);
            was_closed
        });
    }

    fn close(&self, watch: &Watch<E>) {
        self.outage.send_if_modified(|outage| {
            let was_open = outage.take().is_some();
            if was_open {
                watch.up.set(1);
                info!(dependency = watch.name, "{} answers again", watch.name);
            }
            was_open
        });
    }
}

/// How long nobody has had an answer.
struct Trouble<'a> {
    time: Duration,
    looked: Instant,
    answers: &'a AtomicU64,
    heard: u64,
}

impl<'a> Trouble<'a> {
    fn new<E>(breaker: &'a Breaker<E>) -> Self {
        Self {
            time: Duration::ZERO,
            looked: Instant::now(),
            answers: &breaker.answers,
            heard: breaker.answers.load(Ordering::Relaxed),
        }
    }

    /// Counts the time since it was last looked, though not all of it where this process was stopped:
    /// that is nobody's silence.
    fn lasts(&mut self) {
        self.time += self.looked.elapsed().min(3 * TICK);
        self.looked = Instant::now();
        let heard = self.answers.load(Ordering::Relaxed);
        if heard != self.heard {
            self.heard = heard;
            self.time = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn watch() -> Watch<&'static str> {
        Watch {
            name: "it",
            silence: Duration::from_millis(1500),
            silent: "silent",
            up: IntGauge::new("up", "Up.").unwrap(),
            outages: IntCounter::new("outages", "Outages.").unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_opens_it_within_two_seconds_and_an_answer_closes_it() {
        let (breaker, silent) = (Breaker::closed(), Arc::new(AtomicBool::new(false)));
        let hears = Arc::clone(&silent);
        let watching = breaker.clone().watch(watch(), move || {
            let hears = Arc::clone(&hears);
            async move {
                while hears.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(10)).await;
                }
                Ok(())
            }
        });
        let watching = tokio::spawn(watching);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(breaker.outage(), None);
        silent.store(true, Ordering::Relaxed);
        let reason = timeout(Duration::from_millis(2200), breaker.away()).await;
        assert_eq!(reason, Ok("silent"));
        silent.store(false, Ordering::Relaxed);
        sleep(Duration::from_millis(300)).await;
        assert_eq!(breaker.outage(), None);
        watching.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_probe_is_no_outage_while_others_are_answered() {
        let breaker = Breaker::closed();
        let never = || std::future::pending::<Result<(), Fault<&'static str>>>();
        let watching = tokio::spawn(breaker.clone().watch(watch(), never));
        for _ in 0..100 {
            sleep(Duration::from_millis(500)).await;
            breaker.answered();
            assert_eq!(breaker.outage(), None);
        }
        let reason = timeout(Duration::from_secs(2), breaker.away()).await;
        assert_eq!(reason, Ok("silent"));
        watching.abort();
    }
}
