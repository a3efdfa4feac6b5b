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

use super::{
    client::{Answer, Etcd, Repeat},
    fault::Fault,
    keys::Segment,
    proposal::{Company, Proposal},
};

/// Transactions under way at a time.
const UNDER_WAY: usize = 4;

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
        let (told, answer) = oneshot::channel();
        self.batches().waiting.push_back(Passenger {
            proposal,
            since: Instant::now(),
            told,
        });
        self.depart();
        answer
            .await
            .unwrap_or_else(|_| Err(Fault::unreachable("the store is closed")))
    }

    /// Sends as many transactions on their way as may be.
    fn depart(self: &Arc<Self>) {
        while let Some(batch) = self.form() {
            let place = UnderWay(Arc::clone(self));
            tokio::spawn(async move {
                place.0.carry(batch).await;
                drop(place);
            });
        }
    }

    fn form(&self) -> Option<Vec<Passenger>> {
        let mut state = self.batches();
        if state.under_way == UNDER_WAY {
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
        left.append(&mut state.waiting);
        state.waiting = left;
        if batch.passengers.is_empty() {
            return None;
        }
        state.under_way += 1;
        Some(batch.passengers)
    }

    async fn carry(self: &Arc<Self>, mut batch: Vec<Passenger>) {
        if batch.len() == 1 {
            let Some(only) = batch.pop() else { return };
            let answer = self
                .transact(only.proposal.txn.clone(), Repeat::Never)
                .await;
            return only.tell(answer);
        }
        let nested: Vec<TxnOp> = batch
            .iter()
            .map(|one| TxnOp::txn(one.proposal.txn.clone()))
            .collect();
        match self
            .transact(Txn::new().and_then(nested), Repeat::Never)
            .await
        {
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
            under_way.spawn(async move {
                let txn = passenger.proposal.txn.clone();
                let answer = etcd.transact(txn, Repeat::Never).await;
                passenger.tell(answer);
            });
        }
        under_way.join_all().await;
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

impl Drop for UnderWay {
    fn drop(&mut self) {
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
                responses: nested.op_responses(),
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
        self.width = self.width.max(proposal.width);
        self.passengers.push(passenger);
        None
    }

    fn fits(&self, proposal: &Proposal) -> bool {
        let Company::Beside(locks) = &proposal.company else {
            return self.passengers.is_empty();
        };
        if locks.iter().any(|lock| self.locks.contains(lock)) {
            return false;
        }
        let operations = self.passengers.len() + 1 + self.width.max(proposal.width);
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
mod tests {
    use std::time::Duration;

    use etcd_client::Compare;
    use tokio::sync::oneshot::Receiver;

    use super::*;
    use crate::{
        lease::LockKey,
        store::etcd::{EtcdOptions, keys::LockPath},
    };

    fn path(name: &str) -> LockPath {
        LockPath::of(&LockKey::parse_compat(name).unwrap())
    }

    fn proposal(lock: &str, bytes: usize) -> Proposal {
        let puts = [TxnOp::put("k", vec![0; bytes], None)];
        Proposal::of(&path(lock), Txn::new().and_then(puts))
    }

    fn wide(lock: &str, width: usize) -> Proposal {
        let compare = Compare::version("k", etcd_client::CompareOp::Equal, 0);
        Proposal::of(&path(lock), Txn::new().when(vec![compare; width]))
    }

    /// An etcd where these wait, with what they will be told.
    fn waiting(
        proposals: impl IntoIterator<Item = Proposal>,
    ) -> (Etcd, Vec<Receiver<Result<Answer, Fault>>>) {
        let etcd = Etcd::new(EtcdOptions::new(["http://127.0.0.1:1"]));
        let mut answers = Vec::new();
        for proposal in proposals {
            let (told, answer) = oneshot::channel();
            let since = Instant::now();
            etcd.batches().waiting.push_back(Passenger {
                proposal,
                since,
                told,
            });
            answers.push(answer);
        }
        (etcd, answers)
    }

    /// Sizes of the batches that form of these.
    fn sizes(proposals: impl IntoIterator<Item = Proposal>) -> Vec<usize> {
        let (etcd, _answers) = waiting(proposals);
        std::iter::from_fn(|| {
            etcd.batches().under_way = 0;
            etcd.form().map(|batch| batch.len())
        })
        .collect()
    }

    #[test]
    fn a_lock_is_in_a_batch_once_and_its_proposals_keep_their_order() {
        let (etcd, _answers) = waiting([
            proposal("a", 1),
            proposal("a", 2),
            proposal("b", 3),
            Proposal::of_all([&path("b"), &path("c")], Txn::new()),
            proposal("c", 5),
        ]);
        let mut rounds = Vec::new();
        while let Some(batch) = etcd.form() {
            rounds.push(
                batch
                    .iter()
                    .map(|one| one.proposal.bytes)
                    .collect::<Vec<_>>(),
            );
            etcd.batches().under_way = 0;
        }
        let bytes = |lock, bytes| proposal(lock, bytes).bytes;
        let both = Proposal::of_all([&path("b"), &path("c")], Txn::new()).bytes;
        let expected = [
            vec![bytes("a", 1), bytes("b", 3)],
            vec![bytes("a", 2), both],
            vec![bytes("c", 5)],
        ];
        assert_eq!(rounds, expected);
    }

    #[test]
    fn batches_are_bounded_by_count_and_width_and_bytes() {
        let small = (0..250).map(|one| proposal(&format!("{one}"), 10));
        assert_eq!(sizes(small), [120, 120, 10]);
        let width = (0..200).map(|one| wide(&format!("{one}"), 20));
        assert_eq!(sizes(width), [108, 92]);
        let heavy = (0..20).map(|one| proposal(&format!("{one}"), 60 << 10));
        assert_eq!(sizes(heavy), [8, 8, 4]);
    }

    #[test]
    fn what_is_large_or_wants_no_company_travels_alone() {
        let alone = Proposal::alone(Txn::new());
        let large = proposal("large", 65 << 10);
        let others = ["a", "b", "c"].map(|lock| proposal(lock, 1));
        let [a, b, c] = others;
        assert_eq!(sizes([a, alone.clone(), b, large.clone(), c]), [3, 1, 1]);
        assert_eq!(sizes([alone, large]), [1, 1]);
    }

    #[test]
    fn only_so_many_are_under_way() {
        let (etcd, _answers) = waiting((0..1_000).map(|one| proposal(&format!("{one}"), 10)));
        let batches = std::iter::from_fn(|| etcd.form()).count();
        assert_eq!(batches, UNDER_WAY);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_given_up_or_waited_for_too_long_is_not_proposed() {
        let (etcd, mut answers) = waiting((0..4).map(|one| proposal(&format!("{one}"), 10)));
        drop(answers.remove(0));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(etcd.form().is_none());
        for answer in answers {
            assert!(matches!(answer.await.unwrap(), Err(Fault::Unreachable(_))));
        }
    }
}
