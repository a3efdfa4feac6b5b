//! Who waits for a number of one prefix.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use prometheus::IntGauge;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    cycle::{Answer, Job},
    error::AllocateError,
    trace::Caller,
};

/// How large a batch may get.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Numbers; a request for more of them is a batch of its own.
    pub(crate) numbers: usize,
    /// Bytes of what they say, since all of it stands in the counter for a moment.
    pub(crate) bytes: usize,
}

/// What somebody who waits is told.
pub(crate) type Outcome = Result<Answer, AllocateError>;

/// Requests for numbers of one prefix, the oldest first.
#[derive(Default)]
pub(crate) struct Queue {
    tickets: Mutex<VecDeque<Ticket>>,
    arrival: Notify,
}

/// One job and all who wait for it: requests with the same idempotency key share it.
pub(crate) struct Ticket {
    pub(crate) job: Job,
    bytes: usize,
    waiters: Vec<Waiter>,
}

struct Waiter {
    answer: oneshot::Sender<Outcome>,
    deadline: Instant,
    begun: Arc<AtomicBool>,
    caller: Caller,
}

/// A place in the queues of this process.
pub(crate) struct Place(IntGauge);

impl Place {
    pub(crate) fn taken(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The other end of a [`Waiter`].
pub(crate) struct Wait {
    pub(crate) answer: oneshot::Receiver<Outcome>,
    /// Whether a cycle has begun with the request.
    pub(crate) begun: Arc<AtomicBool>,
    /// Given back when the caller leaves, answered or not.
    _place: Place,
}

impl Queue {
    /// Queues a job of so many bytes, at most `limit` of them.
    pub(crate) fn push(
        &self,
        job: Job,
        bytes: usize,
        deadline: Instant,
        place: Place,
        limit: usize,
    ) -> Result<Wait, AllocateError> {
        let (sender, answer) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let waiter = Waiter {
            answer: sender,
            deadline,
            begun: Arc::clone(&begun),
            caller: Caller::current(),
        };
        let mut tickets = self.lock();
        if tickets.len() >= limit {
            // Whoever has left takes nobody's place.
            tickets.retain_mut(Ticket::is_wanted);
        }
        let waiting = tickets.len();
        match tickets
            .iter_mut()
            .find(|ticket| ticket.job.owner == job.owner)
        {
            Some(ticket) if ticket.job.body_hash == job.body_hash => ticket.waiters.push(waiter),
            Some(_) => {
                // The receiver is in our hands.
                let _ = waiter.answer.send(Ok(Answer::KeyReused));
            }
            None if waiting >= limit => return Err(AllocateError::QueueFull),
            None => tickets.push_back(Ticket {
                job,
                bytes,
                waiters: vec![waiter],
            }),
        }
        drop(tickets);
        self.arrival.notify_one();
        Ok(Wait {
            answer,
            begun,
            _place: place,
        })
    }

    /// Resolves when something was queued since the last time.
    pub(crate) async fn arrival(&self) {
        self.arrival.notified().await;
    }

    /// Takes the oldest requests that somebody still waits for.
    pub(crate) fn take_batch(&self, limits: BatchLimits) -> Vec<Ticket> {
        let mut tickets = self.lock();
        let mut batch = Vec::new();
        let (mut bytes, mut numbers) = (0, 0);
        while let Some(mut ticket) = tickets.pop_front() {
            if !ticket.is_wanted() {
                continue;
            }
            bytes += ticket.bytes;
            numbers += ticket.job.want.numbers();
            if !batch.is_empty() && (bytes > limits.bytes || numbers > limits.numbers) {
                tickets.push_front(ticket);
                break;
            }
            ticket.begin();
            batch.push(ticket);
        }
        batch
    }

    /// Until when somebody waits; `None` when nobody does.
    pub(crate) fn last_deadline(&self) -> Option<Instant> {
        let mut tickets = self.lock();
        tickets.retain_mut(Ticket::is_wanted);
        let waiters = tickets.iter().flat_map(|ticket| &ticket.waiters);
        waiters.map(|waiter| waiter.deadline).max()
    }

    /// The caller who has waited longest.
    pub(crate) fn oldest_caller(&self) -> Option<Caller> {
        let tickets = self.lock();
        tickets.iter().flat_map(Ticket::callers).next()
    }

    /// Tells all who wait that it came to nothing.
    pub(crate) fn fail_all(&self, error: &AllocateError) {
        let tickets = std::mem::take(&mut *self.lock());
        for ticket in tickets {
            ticket.answer(&Err(error.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Tells all who wait for the job.
    pub(crate) fn answer(self, outcome: &Outcome) {
        for waiter in self.waiters {
            // Whoever has left is not told.
            let _ = waiter.answer.send(outcome.clone());
        }
    }

    /// Who waits for the job.
    pub(super) fn callers(&self) -> impl Iterator<Item = Caller> {
        self.waiters.iter().map(|waiter| waiter.caller.clone())
    }

    /// Forgets who has left; whether anybody is still there.
    fn is_wanted(&mut self) -> bool {
        let now = Instant::now();
        self.waiters
            .retain(|waiter| waiter.deadline > now && !waiter.answer.is_closed());
        !self.waiters.is_empty()
    }

    fn begin(&mut self) {
        for waiter in &self.waiters {
            waiter.begun.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::allocator::world::job;

    fn push(queue: &Queue, gauge: &IntGauge, name: &str) -> Result<Wait, AllocateError> {
        let deadline = Instant::now() + Duration::from_secs(60);
        queue.push(job(0, name, 1), 1, deadline, Place::taken(gauge), 2)
    }

    #[tokio::test]
    async fn who_has_left_takes_nobodys_place() {
        let (queue, gauge) = (
            Queue::default(),
            IntGauge::new("waiting", "Waiting.").unwrap(),
        );
        let (one, two) = (push(&queue, &gauge, "a"), push(&queue, &gauge, "b"));
        assert!(matches!(
            push(&queue, &gauge, "c"),
            Err(AllocateError::QueueFull)
        ));
        assert_eq!(gauge.get(), 2);
        drop(one);
        assert_eq!(gauge.get(), 1);
        let three = push(&queue, &gauge, "c").unwrap();
        assert_eq!(gauge.get(), 2);
        drop((two, three));
    }
}
