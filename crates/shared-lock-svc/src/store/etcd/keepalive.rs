//! Keepalives of all leases, over a few streams.
//!
//! etcd answers the questions of one stream one after the other, and hangs at a lease that has run
//! out until it is revoked. So a stream that hangs is left to the question it hangs at, and those
//! behind are asked again on a fresh one.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{LeaseKeepAliveResponse, LeaseKeepAliveStream, LeaseKeeper};
use prometheus::IntGauge;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{Core, fault::Fault};
use crate::{
    lease::{LeaseId, Until},
    store::Renewal,
};

/// Streams that are open at a time, apart from those that hang.
const STREAMS: usize = 8;

/// After this long without an answer a stream hangs.
const HANGS: Duration = Duration::from_millis(100);

/// Questions under way on a stream; etcd-client has room for 100.
const MOST_OPEN: usize = 64;

/// How often a question is asked whose stream broke.
const MOST_TRIES: usize = 3;

/// A lease that etcd has just confirmed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confirmed {
    /// When that was asked for, or earlier.
    pub(super) sent: Instant,
    /// Its whole life.
    pub(super) ttl: Duration,
}

impl Confirmed {
    /// Whether most of what was promised is still to come.
    pub(super) fn is_fresh(&self) -> bool {
        self.sent.elapsed() < self.ttl / 2
    }

    /// What it is worth now.
    pub(super) fn renewal(self) -> Renewal {
        Renewal {
            ttl: self.ttl,
            until: Until(self.sent + self.ttl),
        }
    }
}

/// Where questions are put.
pub(super) struct KeepAlives {
    streams: Vec<mpsc::UnboundedSender<Question>>,
    turn: AtomicUsize,
}

/// Questions that one stream is to ask.
pub(super) type Questions = mpsc::UnboundedReceiver<Question>;

/// Whether a lease lives, with the wish that it shall.
pub(super) struct Question {
    lease: LeaseId,
    tries: usize,
    answer: oneshot::Sender<Result<Option<Duration>, Fault>>,
}

impl KeepAlives {
    /// Also what each stream is to be served with.
    pub(super) fn new() -> (Self, Vec<Questions>) {
        let (streams, questions) = (0..STREAMS).map(|_| mpsc::unbounded_channel()).unzip();
        let turn = AtomicUsize::new(0);
        (Self { streams, turn }, questions)
    }

    fn ask(&self, question: Question) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.streams.len();
        // A store that is closed drops it, and its asker is told so.
        let _ = self.streams[turn].send(question);
    }
}

impl Question {
    fn is_moot(&self) -> bool {
        self.answer.is_closed()
    }

    fn tell(self, answer: Result<Option<Duration>, Fault>) {
        // Whoever asked may have given up.
        let _ = self.answer.send(match answer {
            Err(Fault::LeaseNotFound) => Ok(None),
            answer => answer,
        });
    }
}

impl Core {
    /// Restarts the life of a lease; `None` if it is gone.
    pub(super) async fn keep_lease_once(
        &self,
        lease: LeaseId,
        limit: Duration,
    ) -> Result<Option<Confirmed>, Fault> {
        let sent = Instant::now();
        let kept = self.ask_and_wait(lease, sent + limit).await;
        self.etcd
            .metrics
            .called("lease_keep_alive", sent.elapsed(), kept.as_ref());
        Ok(kept?.map(|ttl| Confirmed { sent, ttl }))
    }

    async fn ask_and_wait(
        &self,
        lease: LeaseId,
        deadline: Instant,
    ) -> Result<Option<Duration>, Fault> {
        self.etcd.member(deadline).await?;
        let (answer, answered) = oneshot::channel();
        self.keepalives.ask(Question {
            lease,
            tries: 0,
            answer,
        });
        match timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Fault::unreachable("the store is closed")),
            Err(_) => {
                self.etcd.suspect();
                Err(Fault::Silent)
            }
        }
    }

    /// Asks what it is given, on one stream after the other; for ever.
    pub(super) async fn ask_about_leases(self: &Arc<Self>, questions: Questions) {
        let mut backlog = Backlog {
            again: VecDeque::new(),
            questions,
        };
        while let Some(first) = backlog.next().await {
            if !first.is_moot() {
                let again = self.ask_on_a_stream(first, &mut backlog).await;
                backlog.again.extend(again);
            }
        }
    }

    /// Asks on a stream of its own until that breaks or hangs. Returns what is to be asked again.
    async fn ask_on_a_stream(
        self: &Arc<Self>,
        first: Question,
        backlog: &mut Backlog,
    ) -> VecDeque<Question> {
        let (round, mut client) = match self.etcd.member(Instant::now() + HANGS).await {
            Ok(member) => member,
            Err(fault) => {
                first.tell(Err(fault));
                return VecDeque::new();
            }
        };
        let (lease, counter) = (first.lease.0, self.etcd.metrics.keepalive_streams.clone());
        let mut opening = Box::pin(async move { client.lease_keep_alive(lease).await });
        let mut lane = match timeout(HANGS, &mut opening).await {
            Ok(Ok((keeper, stream))) => Lane::new(&counter, keeper, stream),
            Ok(Err(err)) => return self.stumble(round, err.into(), [first].into()).await,
            Err(_) => {
                self.wait_for_one(first, async move {
                    let (keeper, stream) = opening.await?;
                    let mut lane = Lane::new(&counter, keeper, stream);
                    lane.send(lease).await?;
                    lane.receive().await
                });
                return VecDeque::new();
            }
        };
        // etcd-client keeps the answer to the first question to itself.
        let mut next = Some(first);
        loop {
            if let Some(question) = next.take()
                && let Err(fault) = lane.ask(question).await
            {
                return self.stumble(round, fault, lane.open).await;
            }
            let (asking, room, hangs_at) = (lane.is_asking(), lane.has_room(), lane.hangs_at());
            tokio::select! {
                answer = lane.receive() => match answer {
                    Ok(answer) => {
                        self.etcd.hear();
                        lane.settle(&answer);
                    }
                    Err(fault) => return self.stumble(round, fault, lane.open).await,
                },
                question = backlog.next(), if room => match question {
                    Some(question) => next = Some(question),
                    None => return VecDeque::new(),
                },
                () = sleep_until(hangs_at), if asking => {
                    let mut behind = std::mem::take(&mut lane.open);
                    if let Some(first) = behind.pop_front() {
                        let lease = first.lease.0;
                        self.wait_for_one(first, async move { lane.receive_of(lease).await });
                    }
                    return behind;
                }
            }
        }
    }

    /// Waits for an answer that hangs, as long as it is wanted.
    fn wait_for_one(
        &self,
        question: Question,
        answer: impl Future<Output = Result<LeaseKeepAliveResponse, Fault>> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            let mut question = question;
            tokio::select! {
                answer = answer => question.tell(answer.map(|answer| life(&answer))),
                () = question.answer.closed() => {}
            }
        });
    }

    /// What to ask again after a stream broke.
    async fn stumble(
        &self,
        round: u64,
        fault: Fault,
        mut open: VecDeque<Question>,
    ) -> VecDeque<Question> {
        let blamed = fault.blames_member();
        // Nobody else was being answered, so any other complaint is about the first.
        let suspects = if blamed { open.len() } else { 1 };
        for question in open.iter_mut().take(suspects) {
            question.tries += 1;
        }
        let again = self.etcd.may_ask_again(&fault);
        let (given_up, open): (VecDeque<_>, VecDeque<_>) =
            open.into_iter().enumerate().partition(|(place, question)| {
                *place < suspects && (!again || question.tries >= MOST_TRIES)
            });
        for (_, question) in given_up {
            question.tell(Err(fault.clone()));
        }
        if blamed {
            self.etcd.suspect();
            self.etcd.next_round(round, Instant::now() + HANGS).await;
        }
        open.into_iter().map(|(_, question)| question).collect()
    }
}

/// What one stream is to ask.
struct Backlog {
    /// What another stream did not come to an answer for.
    again: VecDeque<Question>,
    questions: Questions,
}

impl Backlog {
    async fn next(&mut self) -> Option<Question> {
        match self.again.pop_front() {
            Some(question) => Some(question),
            None => self.questions.recv().await,
        }
    }
}

/// A stream, with what was asked on it and not answered yet, in order.
struct Lane {
    _counted: Counted,
    keeper: LeaseKeeper,
    stream: LeaseKeepAliveStream,
    open: VecDeque<Question>,
    /// When the first of them could be answered at the earliest.
    since: Instant,
}

impl Lane {
    fn new(counter: &IntGauge, keeper: LeaseKeeper, stream: LeaseKeepAliveStream) -> Self {
        Self {
            _counted: Counted::new(counter),
            keeper,
            stream,
            open: VecDeque::new(),
            since: Instant::now(),
        }
    }

    fn is_asking(&self) -> bool {
        !self.open.is_empty()
    }

    fn has_room(&self) -> bool {
        self.open.len() < MOST_OPEN
    }

    fn hangs_at(&self) -> Instant {
        self.since + HANGS
    }

    async fn ask(&mut self, question: Question) -> Result<(), Fault> {
        if self.open.is_empty() {
            self.since = Instant::now();
        }
        let lease = question.lease.0;
        self.open.push_back(question);
        self.send(lease).await
    }

    async fn send(&mut self, lease: i64) -> Result<(), Fault> {
        // A keeper of etcd-client is made for one lease, but nothing in it holds to that.
        self.keeper.id = lease;
        Ok(self.keeper.keep_alive().await?)
    }

    async fn receive(&mut self) -> Result<LeaseKeepAliveResponse, Fault> {
        let answer = self.stream.message().await?;
        answer.ok_or_else(|| Fault::Lost("etcd ended a stream of keepalives".into()))
    }

    async fn receive_of(&mut self, lease: i64) -> Result<LeaseKeepAliveResponse, Fault> {
        loop {
            let answer = self.receive().await?;
            if answer.id() == lease {
                return Ok(answer);
            }
        }
    }

    fn settle(&mut self, answer: &LeaseKeepAliveResponse) {
        self.since = Instant::now();
        let asked = self
            .open
            .iter()
            .position(|question| question.lease.0 == answer.id());
        if let Some(question) = asked.and_then(|place| self.open.remove(place)) {
            question.tell(Ok(life(answer)));
        }
    }
}

/// Something that a gauge counts for as long as it is there.
struct Counted(IntGauge);

impl Counted {
    fn new(counter: &IntGauge) -> Self {
        counter.inc();
        Self(counter.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The whole life of a lease that was kept alive; `None` if it is gone.
fn life(answer: &LeaseKeepAliveResponse) -> Option<Duration> {
    let seconds = u64::try_from(answer.ttl()).ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}
