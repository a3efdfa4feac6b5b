//! Proposals that ride together: under load etcd does many small transactions inside a large one
//! for hardly more than the price of one.
//!
//! Nobody waits for company: a few transactions are under way at a time, and what comes meanwhile
//! goes together when one of them is back.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use etcd_client::{Txn, TxnOp, TxnOpResponse};
use tokio::{sync::oneshot, task::JoinSet, time::Instant};
use tracing::{Instrument, Span};

use super::{
    client::{Answer, Call, Etcd, responses_of, span_of},
    fault::Fault,
    keys::Segment,
    proposal::{Company, Proposal},
};

/// Transactions under way at a time: then what comes waits, for company.
const UNDER_WAY: usize = 4;

/// Transactions under way where proposals of one lock are left over: company will not help them.
const MOST_UNDER_WAY: usize = 32;

/// Proposals in one transaction.
const MOST: usize = 120;

/// etcd counts the operations of a transaction and of the widest one in it.
const MOST_OPERATIONS: usize = 128;

/// Bytes of proposals in one transaction; etcd takes 1.5 MiB.
const MOST_BYTES: usize = 512 << 10;

/// What is larger travels alone.
const LARGE: usize = 64 << 10;

/// Proposals of a refused batch that are tried again at a time.
const APART: usize = 16;

#[derive(Default)]
pub(super) struct Batches {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Passenger>,
    under_way: usize,
}

struct Passenger {
    proposal: Proposal,
    since: Instant,
    span: Span,
    told: oneshot::Sender<Result<Answer, Fault>>,
}

impl Passenger {
    fn tell(self, answer: Result<Answer, Fault>) {
        // Whoever proposed may have given up.
        let _ = self.told.send(answer);
    }
}

impl Etcd {
    /// Proposes a transaction: the one place where locks change.
    pub(super) async fn propose(self: &Arc<Self>, proposal: Proposal) -> Result<Answer, Fault> {
        if proposal.adds {
            self.may_add()?;
        }
        let (told, answer) = oneshot::channel();
        self.batches().waiting.push_back(Passenger {
            proposal,
            since: Instant::now(),
            span: span_of("propose"),
            told,
        });
        self.depart();
        answer
            .await
            .unwrap_or_else(|_| Err(Fault::unreachable("the store is closed")))
    }

    /// Sends as many transactions on their way as may be.
    fn depart(self: &Arc<Self>) {
        let mut most = UNDER_WAY;
        while let Some((batch, left)) = self.form(most) {
            if left {
                most = MOST_UNDER_WAY;
            }
            let place = UnderWay::new(Arc::clone(self));
            for passenger in &batch {
                passenger
                    .span
                    .record("db.operation.batch.size", batch.len());
            }
            self.metrics.batch_size.observe(batch.len() as f64);
            let first = batch[0].span.clone();
            let carried = async move {
                place.0.carry(batch).await;
                drop(place);
            };
            tokio::spawn(carried.instrument(first));
        }
    }

    /// A batch of those who wait, if there is room for one more on the way; also whether any of them
    /// was left, since the lock it names is in the batch.
    fn form(&self, most: usize) -> Option<(Vec<Passenger>, bool)> {
        let mut state = self.batches();
        if state.under_way >= most {
            return None;
        }
        let mut batch = Batch::default();
        let mut left = VecDeque::new();
        while !batch.is_full()
            && let Some(next) = state.waiting.pop_front()
        {
            if next.told.is_closed() {
            } else if next.since.elapsed() > self.options.operation_timeout {
                next.tell(Err(Fault::unreachable(
                    "etcd is too slow for all that it is asked",
                )));
            } else {
                left.extend(batch.board(next));
            }
        }
        let conflicts = batch.conflicts;
        left.append(&mut state.waiting);
        state.waiting = left;
        if batch.passengers.is_empty() {
            return None;
        }
        state.under_way += 1;
        Some((batch.passengers, conflicts))
    }

    async fn carry(self: &Arc<Self>, mut batch: Vec<Passenger>) {
        if batch.len() == 1 {
            let Some(only) = batch.pop() else { return };
            return self.carry_one(only).await;
        }
        let all = || {
            let nested = batch.iter().map(|one| TxnOp::txn(one.proposal.txn()));
            Txn::new().and_then(nested.collect::<Vec<_>>())
        };
        match self.transact(Call::once("txn"), all).await {
            Ok(answer) => {
                let mut responses = answer.responses.into_iter();
                for passenger in batch {
                    let own = responses.next();
                    passenger.tell(Answer::of_nested(own, answer.revision));
                }
            }
            // One of them made etcd refuse all, and nothing of any was done.
            Err(Fault::LeaseNotFound | Fault::Refused(_)) => self.carry_apart(batch).await,
            Err(fault) => {
                for passenger in batch {
                    passenger.tell(Err(fault.clone()));
                }
            }
        }
    }

    async fn carry_apart(self: &Arc<Self>, batch: Vec<Passenger>) {
        let mut under_way = JoinSet::new();
        for passenger in batch {
            if under_way.len() == APART {
                under_way.join_next().await;
            }
            let etcd = Arc::clone(self);
            under_way.spawn(async move { etcd.carry_one(passenger).await });
        }
        under_way.join_all().await;
    }

    async fn carry_one(&self, passenger: Passenger) {
        let txn = || passenger.proposal.txn();
        let answer = self.transact(Call::once("txn"), txn).await;
        passenger.tell(answer);
    }

    fn batches(&self) -> MutexGuard<'_, State> {
        self.batches
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction under way; when it is back, the next may go.
struct UnderWay(Arc<Etcd>);

impl UnderWay {
    fn new(etcd: Arc<Etcd>) -> Self {
        etcd.metrics.transactions.inc();
        Self(etcd)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.metrics.transactions.dec();
        self.0.batches().under_way -= 1;
        self.0.depart();
    }
}

impl Answer {
    /// Of one among several: all that a transaction puts has one revision.
    fn of_nested(response: Option<TxnOpResponse>, revision: i64) -> Result<Self, Fault> {
        match response {
            Some(TxnOpResponse::Txn(nested)) => Ok(Self {
                succeeded: nested.succeeded(),
                revision,
                responses: responses_of(nested),
            }),
            _ => Err(Fault::Lost("etcd answered what it was not asked".into())),
        }
    }
}

#[derive(Default)]
struct Batch {
    passengers: Vec<Passenger>,
    /// Locks of the passengers, and of those who were left: nobody passes them.
    locks: HashSet<Segment>,
    /// Somebody was left because of a lock.
    conflicts: bool,
    bytes: usize,
    width: usize,
    /// Nobody else may come along.
    closed: bool,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.closed || self.passengers.len() == MOST
    }

    /// Takes a passenger in, or gives it back.
    fn board(&mut self, passenger: Passenger) -> Option<Passenger> {
        let proposal = &passenger.proposal;
        let fits = self.fits(proposal);
        if let Company::Beside(locks) = &proposal.company {
            self.locks.extend(locks.iter().cloned());
        }
        if !fits {
            return Some(passenger);
        }
        self.closed = travels_alone(proposal);
        self.bytes += proposal.bytes;
        self.width = self.width.max(proposal.width());
        self.passengers.push(passenger);
        None
    }

    fn fits(&mut self, proposal: &Proposal) -> bool {
        let Company::Beside(locks) = &proposal.company else {
            return self.passengers.is_empty();
        };
        if locks.iter().any(|lock| self.locks.contains(lock)) {
            self.conflicts = true;
            return false;
        }
        let operations = self.passengers.len() + 1 + self.width.max(proposal.width());
        self.passengers.is_empty()
            || (!travels_alone(proposal)
                && self.bytes + proposal.bytes <= MOST_BYTES
                && operations <= MOST_OPERATIONS)
    }
}

fn travels_alone(proposal: &Proposal) -> bool {
    proposal.company == Company::None || proposal.bytes > LARGE
}

#[cfg(test)]
mod tests;
