//! What allocates the numbers of one prefix: one lock serves the whole queue.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{Instrument, info_span};

use super::{
    Shared, WithoutLocks,
    cycle::{Answer, Cycle, End, Job, SettledCounter, Tally},
    driver::drive,
    error::AllocateError,
    hold::Hold,
    queue::{Queue, Ticket},
    trace::{Caller, on_behalf_of},
};
use crate::{
    hostname::Prefix,
    locks::{LockError, PrefixLock},
};

/// How many pending entries the next holder of the lock may be left with. Each costs him two reads, and
/// clearing them away costs us one write.
const LEFT_BEHIND: usize = 8;

/// The task of a prefix.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) prefix: Prefix,
    pub(crate) queue: Arc<Queue>,
    /// What the last cycle ended with.
    known: Option<SettledCounter>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, prefix: Prefix, queue: Arc<Queue>) -> Self {
        Self {
            shared,
            prefix,
            queue,
            known: None,
        }
    }

    /// Allocates until nobody has asked for a while and nothing is left pending.
    pub(crate) async fn run(mut self) {
        loop {
            while let Some(deadline) = self.queue.last_deadline() {
                let caller = self.queue.oldest_caller();
                on_behalf_of(caller, info_span!("hostname.turn"), self.hold(deadline)).await;
            }
            let closing = self.shared.closing();
            tokio::select! {
                () = self.queue.arrival() => continue,
                () = sleep(self.shared.limits.idle) => (),
                () = closing => (),
            }
            if self.pending() > 0 {
                self.sweep().await;
            }
            if self.shared.retire(&self.prefix, &self.queue) {
                return;
            }
        }
    }

    /// Takes the lock and allocates for whoever is in the queue, until it is empty or others should
    /// have their turn.
    async fn hold(&mut self, deadline: Instant) {
        let lock = tokio::select! {
            biased;
            error = self.shared.store.away() => return self.queue.fail_all(&error.into()),
            lock = self.lock(deadline) => lock,
        };
        let lock = match lock {
            Ok(lock) => Hold::Locked(lock),
            Err(LockError::Unavailable(_)) if self.goes_on_without_locks() => {
                self.shared.metrics.turns_without_lock.inc();
                Hold::CheckAndSetAlone
            }
            // Those whose time was over have left; the others have more of it.
            Err(LockError::Timeout) => return,
            Err(error) => return self.queue.fail_all(&error.into()),
        };
        let since = Instant::now();
        let mut lock = Some(lock);
        while let Some(held) = lock.take() {
            let batch = self.queue.take_batch(self.shared.limits.batch);
            if batch.is_empty() {
                lock = Some(held);
                break;
            }
            lock = self.serve(held, batch).await;
            let valid = lock.as_ref().is_some_and(Hold::is_valid);
            if since.elapsed() >= self.shared.limits.max_hold || !valid {
                break;
            }
        }
        if let Some(lock) = lock {
            self.clear_away(&lock).await;
            lock.release(self.counter()).await;
        }
        self.shared
            .metrics
            .lock_hold
            .observe(since.elapsed().as_secs_f64());
    }

    fn goes_on_without_locks(&self) -> bool {
        let limits = &self.shared.limits;
        let policy = limits.policies.of(&self.prefix).without_locks;
        policy.unwrap_or(limits.without_locks) == WithoutLocks::GoOn
    }

    async fn lock(&self, deadline: Instant) -> Result<PrefixLock, LockError> {
        let timer = self.shared.metrics.lock_wait.start_timer();
        let lock = self.shared.locks.acquire(&self.prefix, deadline).await;
        timer.observe_duration();
        if let Err(error) = &lock {
            let failures = &self.shared.metrics.lock_failures;
            failures.with_label_values(&[error.reason()]).inc();
        }
        lock
    }

    /// Runs a cycle as part of the trace of the caller who had waited longest, linked to the others and
    /// to the turn at the lock under which it runs.
    async fn serve(&mut self, lock: Hold, batch: Vec<Ticket>) -> Option<Hold> {
        let span =
            info_span!(parent: None, "hostname.cycle", hostname.batch_requests = batch.len());
        let callers = batch.iter().flat_map(Ticket::callers);
        let callers: Vec<_> = callers.chain([Caller::current()]).collect();
        on_behalf_of(callers, span, self.allocate(lock, batch)).await
    }

    /// Runs a cycle for a batch, and gives back the lock it ended under.
    async fn allocate(&mut self, lock: Hold, batch: Vec<Ticket>) -> Option<Hold> {
        self.shared.metrics.batch_size.observe(batch.len() as f64);
        let mut open: HashMap<u64, Ticket> = (0..).zip(batch).collect();
        let jobs = open.iter().map(|(id, ticket)| Job {
            id: *id,
            ..ticket.job.clone()
        });
        let mut jobs: Vec<_> = jobs.collect();
        jobs.sort_by_key(|job| job.id);
        let known = self.known.take();
        let cycle = Cycle::new(self.prefix.clone(), lock.fence(), jobs, known, false);
        let mut cycle = cycle.with_mark(lock.mark());
        let mut told = |id, answer: Answer| {
            if let Some(ticket) = open.remove(&id) {
                ticket.answer(&Ok(answer));
            }
        };
        let (lock, failed) = self.cycle(&mut cycle, lock, &mut told).await;
        if let Some(error) = failed {
            for ticket in open.into_values() {
                ticket.answer(&Err(error.clone()));
            }
            // Among those who wait may be one who raises the floor.
            if !matches!(
                error,
                AllocateError::Timeout | AllocateError::Regressed { .. }
            ) {
                self.queue.fail_all(&error);
            }
        }
        lock
    }

    /// Drives a cycle; once more under a new lock, should the counter know a later holder than us.
    async fn cycle(
        &mut self,
        cycle: &mut Cycle,
        mut lock: Hold,
        told: &mut impl FnMut(u64, Answer),
    ) -> (Option<Hold>, Option<AllocateError>) {
        let deadline = Instant::now() + self.shared.limits.budget;
        for retry in [false, true] {
            let end = self.drive(cycle, deadline, &mut *told).await;
            self.count(cycle.take_tally());
            match end {
                Ok(End::Settled(known)) => {
                    self.known = Some(*known);
                    return (Some(lock), None);
                }
                Ok(End::CounterDeleted) => {
                    return (
                        Some(lock),
                        Some(AllocateError::Deleted("counter of the prefix")),
                    );
                }
                Ok(End::Regressed { value, mark }) => {
                    return (Some(lock), Some(AllocateError::Regressed { value, mark }));
                }
                Ok(End::Unreadable(which)) => {
                    return (Some(lock), Some(AllocateError::Unreadable(which)));
                }
                Ok(End::Confused) => return (Some(lock), Some(AllocateError::Internal)),
                Ok(End::Fenced { by }) => {
                    let token = lock.fence().map_or(0, |fence| fence.token);
                    tracing::warn!("the lock of {} is not ours any more", self.prefix);
                    lock.release(None).await;
                    if retry {
                        return (None, Some(AllocateError::Fenced { token, by }));
                    }
                    match self.lock(deadline).await {
                        Ok(next) => {
                            cycle.resume(next.fence());
                            lock = Hold::Locked(next);
                        }
                        Err(error) => return (None, Some(error.into())),
                    }
                }
                Err(error) => return (Some(lock), Some(error)),
            }
        }
        (Some(lock), Some(AllocateError::Internal))
    }

    /// Drives a cycle until the store is away: what is under way then is settled by the next one.
    async fn drive(
        &self,
        cycle: &mut Cycle,
        deadline: Instant,
        told: impl FnMut(u64, Answer),
    ) -> Result<End, AllocateError> {
        let store = &self.shared.store;
        let pace = self.shared.limits.pace;
        tokio::select! {
            biased;
            end = drive(cycle, store, &self.prefix, pace, deadline, told) => end,
            error = store.away() => Err(error.into()),
        }
    }

    fn count(&self, tally: Tally) {
        let metrics = &self.shared.metrics;
        metrics.counter_conflicts.inc_by(tally.conflicts);
        metrics.recovered_entries.inc_by(tally.recovered);
        for (why, numbers) in tally.skipped {
            let skipped = metrics.skipped_numbers.with_label_values(&[why.as_str()]);
            skipped.inc_by(numbers);
        }
        metrics
            .skipped_numbers
            .with_label_values(&["passed"])
            .inc_by(tally.passed);
        for epoch in tally.left_epochs {
            metrics.epoch_changes.inc();
            tracing::warn!("the counter of {} leaves token epoch {epoch}", self.prefix);
        }
    }

    /// How far the counter has surely come.
    fn counter(&self) -> Option<u64> {
        Some(self.known.as_ref()?.counter.value)
    }

    fn pending(&self) -> usize {
        self.known
            .as_ref()
            .map_or(0, |known| known.counter.pending.len())
    }

    /// Spares the next holder of the lock a long look at what is settled.
    async fn clear_away(&mut self, lock: &Hold) {
        if self.pending() > LEFT_BEHIND && lock.is_valid() {
            self.clear(lock).await;
        }
    }

    /// Settles and clears what is pending while nobody asks. What fails is left for the next one.
    pub(crate) async fn sweep(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        let swept = async {
            if let Ok(lock) = self.lock(deadline).await {
                let lock = Hold::Locked(lock);
                self.clear(&lock).await;
                lock.release(self.counter()).await;
            }
        };
        swept.instrument(info_span!("hostname.sweep")).await;
    }

    async fn clear(&mut self, lock: &Hold) {
        let known = self.known.take();
        let cycle = Cycle::new(self.prefix.clone(), lock.fence(), Vec::new(), known, true);
        let mut cycle = cycle.with_mark(lock.mark());
        let deadline = Instant::now() + self.shared.limits.budget;
        let end = self.drive(&mut cycle, deadline, |_, _| ()).await;
        self.count(cycle.take_tally());
        match end {
            Ok(End::Settled(known)) => self.known = Some(*known),
            Ok(end) => tracing::warn!("the counter of {} was not swept: {end:?}", self.prefix),
            Err(error) if error.is_outage() => {
                tracing::debug!("the counter of {} was not swept yet: {error}", self.prefix);
            }
            Err(error) => tracing::warn!("the counter of {} was not swept: {error}", self.prefix),
        }
    }
}
