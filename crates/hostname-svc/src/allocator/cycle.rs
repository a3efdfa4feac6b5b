//! One cycle of the allocation, as a machine without I/O: it says which calls to make, is told their
//! replies in any order, and gives the answers.
//!
//! Counter by check-and-set with what is about to be written (`pending`), then the document of each
//! idempotency key, then the records, then the answers. What keeps it right when replicas act at once,
//! crash, read stale documents and lose replies:
//!
//! - Whoever moves the counter first settles *every* entry pending in it, his own or not.
//! - An entry's records are only written after the document of its key is known to hold its numbers.
//! - A hit (in a key's document) is answered only after its records were read and found its own.
//! - A number whose hostname is somebody else's is replaced by whoever finds it, in his next write of
//!   the counter; the key's document moves with it, by its version (`generation`).
//! - A write without a reply is made again, the same, until it is accepted or refused.
//! - A read older than what is already known is void and made again.
//! - A caller without a key whose write of the counter may have been accepted looks for the number that
//!   it had before it takes another.
//! - "All settled" is remembered for a whole counter and only at the end of a cycle.
//!
//! Dropping a cycle at any point is safe: there is nothing to undo.

mod look;
mod messages;
mod settle;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

pub(crate) use self::messages::{Answer, Call, End, Job, Reply, Request, SettledCounter, Tally};
use crate::{
    allocator::plan::{Fenced, Outcome, Plan, plan},
    documents::{CounterDocument, Fence, GivenUp, IdemDocument, Owner, SkipReason, StoredRecord},
    hostname::{Counter, Prefix},
    store::Read,
};

/// A cycle under way. See the [module](self).
#[derive(Debug)]
pub(crate) struct Cycle {
    prefix: Prefix,
    fence: Fence,
    sweep: bool,
    jobs: Vec<JobState>,
    known: Option<SettledCounter>,
    /// Counters of a lower version are known to be stale.
    min_version: u64,
    version: u64,
    counter: CounterDocument,
    /// The counter is one that this cycle wrote.
    own: bool,
    entries: Vec<EntryState>,
    unsettled: usize,
    reading: bool,
    moving: Option<Move>,
    rounds: u32,
    end: Option<End>,
    calls: VecDeque<Call>,
    open: HashMap<u64, (Target, u32, Request)>,
    next_call: u64,
    answers: Vec<(u64, Answer)>,
    tally: Tally,
}

#[derive(Debug)]
struct JobState {
    job: Job,
    answered: bool,
    verdict: Option<Verdict>,
    look: Look,
    /// Without a key: the first numbers that a write of the counter gave it, or may have given it. The
    /// ones that replaced them are found from there.
    had: Vec<Counter>,
}

/// What a job needs of the next write of the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Numbers.
    Allocate,
    /// It is pending, and some of its numbers will be replaced.
    Replaced,
    /// Nothing; what it was given is not to be seen yet. Read again.
    Again,
}

/// What is known of the numbers that a job may have already.
#[derive(Debug)]
enum Look {
    NotAsked,
    Asking,
    Found(Read<IdemDocument>),
    /// Reading the records of these numbers.
    Verifying {
        numbers: Vec<Counter>,
        records: Vec<Option<Read<StoredRecord>>>,
    },
}

#[derive(Debug)]
enum EntryState {
    /// On its way through the document of its key.
    Idem,
    /// On its way through its records: for each number whether it is its own.
    Records(Vec<Option<Finding>>),
    Settled(Outcome),
}

#[derive(Debug, Clone)]
enum Finding {
    Own,
    Taken(Option<Owner>),
}

/// A write of the counter under way.
#[derive(Debug)]
struct Move {
    counter: Arc<CounterDocument>,
    skipped: Vec<SkipReason>,
    left_epoch: Option<String>,
    /// It was made before without a reply, so it may have been accepted.
    unsure: bool,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Counter,
    Move,
    /// Document of an entry's key; `proven`: a write of it was refused, so it exists.
    Idem {
        entry: usize,
        proven: bool,
    },
    Record {
        entry: usize,
        number: usize,
        proven: bool,
    },
    Lookup {
        job: usize,
    },
    Verify {
        job: usize,
        number: usize,
    },
}

impl Cycle {
    /// A cycle for `jobs`. `known` is what the last cycle on this prefix ended with; with `sweep` the
    /// counter's pending entries are cleared away even when nothing else is to be written.
    pub(crate) fn new(
        prefix: Prefix,
        fence: Fence,
        jobs: Vec<Job>,
        known: Option<SettledCounter>,
        sweep: bool,
    ) -> Self {
        let jobs = jobs
            .into_iter()
            .map(|job| JobState {
                job,
                answered: false,
                verdict: None,
                look: Look::NotAsked,
                had: Vec::new(),
            })
            .collect();
        let mut cycle = Self {
            prefix,
            fence,
            sweep,
            jobs,
            known,
            min_version: 0,
            version: 0,
            counter: CounterDocument::default(),
            own: false,
            entries: Vec::new(),
            unsettled: 0,
            reading: false,
            moving: None,
            rounds: 0,
            end: None,
            calls: VecDeque::new(),
            open: HashMap::new(),
            next_call: 0,
            answers: Vec::new(),
            tally: Tally::default(),
        };
        cycle.begin();
        cycle
    }

    /// Goes on under a new lock, with the same jobs and with what is known about them.
    pub(crate) fn resume(&mut self, fence: Fence) {
        self.fence = fence;
        self.end = None;
        self.begin();
    }

    /// The next call to make, if there is one now.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        self.calls.pop_front()
    }

    /// Takes the reply to a call.
    pub(crate) fn reply(&mut self, call: u64, reply: Reply) {
        let Some((target, attempt, request)) = self.open.remove(&call) else {
            return;
        };
        if let Reply::Unknown = reply {
            if let (Target::Move, Some(moving)) = (target, &mut self.moving) {
                moving.unsure = true;
            }
            return self.ask(target, attempt + 1, request);
        }
        match (target, reply) {
            (Target::Counter, Reply::Counter(read)) => self.counter_read(read, attempt),
            (Target::Move, Reply::Written) => self.counter_written(),
            (Target::Move, Reply::Mismatch) => self.counter_refused(),
            (Target::Idem { entry, .. }, Reply::Written) => self.idem_written(entry),
            (Target::Idem { entry, .. }, Reply::Mismatch) => self.read_idem(entry, true, 0),
            (Target::Idem { entry, proven }, Reply::Idem(read)) => {
                self.idem_read(entry, proven, read, attempt)
            }
            (Target::Record { entry, number, .. }, Reply::Written) => {
                self.record_written(entry, number)
            }
            (Target::Record { entry, number, .. }, Reply::Mismatch) => {
                self.read_record(entry, number, true, 0)
            }
            (
                Target::Record {
                    entry,
                    number,
                    proven,
                },
                Reply::Record(read),
            ) => {
                self.record_read(entry, number, proven, read, attempt);
            }
            (Target::Lookup { job }, Reply::Idem(read)) => self.looked_up(job, read),
            (Target::Verify { job, number }, Reply::Record(read)) => {
                self.verified(job, number, read)
            }
            (target, reply) => unreachable!("a reply of the wrong kind: {target:?}, {reply:?}"),
        }
        self.advance();
    }

    /// Answers that have become known.
    pub(crate) fn take_answers(&mut self) -> Vec<(u64, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// How the cycle ended, once it has.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What it did so far, beside answering.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Whose the jobs are, by their ids.
    #[cfg(test)]
    pub(crate) fn owners(&self) -> HashMap<u64, Owner> {
        let owner = |state: &JobState| (state.job.id, state.job.owner.clone());
        self.jobs.iter().map(owner).collect()
    }

    fn ask(&mut self, target: Target, attempt: u32, request: Request) {
        let id = self.next_call;
        self.next_call += 1;
        self.open.insert(id, (target, attempt, request.clone()));
        self.calls.push_back(Call {
            id,
            attempt,
            request,
        });
    }

    /// Reads the counter, and meanwhile looks up the keys: a look-up may be as stale as it likes.
    fn begin(&mut self) {
        self.own = false;
        self.reading = true;
        self.ask(Target::Counter, self.rounds, Request::ReadCounter);
        self.rounds += 1;
        for place in 0..self.jobs.len() {
            self.forget(place);
            if !self.jobs[place].answered {
                self.look_up(place, 0);
            }
        }
    }

    /// Forgets what was found about a job.
    fn forget(&mut self, place: usize) {
        let job = &mut self.jobs[place];
        job.verdict = None;
        if !matches!(job.look, Look::Asking) {
            job.look = Look::NotAsked;
        }
    }

    fn counter_read(&mut self, read: Read<CounterDocument>, attempt: u32) {
        if read.version() < self.min_version {
            return self.ask(Target::Counter, attempt + 1, Request::ReadCounter);
        }
        self.reading = false;
        self.version = read.version();
        self.counter = match read {
            Read::Absent => CounterDocument::default(),
            Read::Present { data, .. } => data,
            Read::Deleted { .. } => {
                self.end = Some(End::CounterDeleted);
                return;
            }
        };
        let settled = self
            .known
            .as_ref()
            .is_some_and(|known| known.version == self.version && known.counter == self.counter);
        if settled {
            self.unsettled = 0;
            self.entries = self
                .counter
                .pending
                .iter()
                .map(|_| EntryState::Settled(Outcome::Done))
                .collect();
        } else {
            self.settle_all();
        }
    }

    fn answer_from_entry(&mut self, place: usize, entry: usize) {
        let pending = &self.counter.pending[entry];
        let answer = if pending.body_hash != self.jobs[place].job.body_hash {
            Answer::KeyReused
        } else if let Some(failed) = pending.failed {
            Answer::GivenUp(failed)
        } else {
            let records = pending.numbers.iter().filter_map(|&counter| {
                let hostname = self.prefix.hostname(counter)?;
                Some(pending.record(&self.prefix, counter, hostname))
            });
            Answer::Named(records.collect())
        };
        self.answer(place, answer);
    }

    fn answer(&mut self, place: usize, answer: Answer) {
        self.jobs[place].answered = true;
        self.answers.push((self.jobs[place].job.id, answer));
    }

    /// Goes on as far as it can without another reply.
    fn advance(&mut self) {
        if self.end.is_some() || self.reading || self.moving.is_some() || self.unsettled > 0 {
            return;
        }
        for place in 0..self.jobs.len() {
            let job = &self.jobs[place];
            if !job.answered && job.verdict.is_none() {
                self.judge(place);
            }
        }
        if self
            .jobs
            .iter()
            .all(|job| job.answered || job.verdict.is_some())
        {
            self.conclude();
        }
    }

    /// All is settled and every job judged: moves the counter, reads again, or ends.
    fn conclude(&mut self) {
        let wanted: Vec<usize> = (0..self.jobs.len())
            .filter(|&place| {
                !self.jobs[place].answered && self.jobs[place].verdict == Some(Verdict::Allocate)
            })
            .collect();
        let outcomes: Vec<_> = (self.entries.iter())
            .filter_map(|entry| match entry {
                EntryState::Settled(outcome) => Some(outcome.clone()),
                _ => None,
            })
            .collect();
        let odd = outcomes.iter().any(|outcome| *outcome != Outcome::Done);
        let sweep = self.sweep && !self.counter.pending.is_empty();
        if wanted.is_empty() && !odd && !sweep {
            return self.rest();
        }
        let jobs: Vec<&Job> = wanted.iter().map(|&place| &self.jobs[place].job).collect();
        let plan = match plan(&self.prefix, &self.counter, &outcomes, &jobs, &self.fence) {
            Ok(plan) => plan,
            Err(Fenced { by }) => {
                self.end = Some(End::Fenced { by });
                return;
            }
        };
        for &place in &plan.exhausted {
            self.answer(wanted[place], Answer::GivenUp(GivenUp::Exhausted));
        }
        if plan.exhausted.len() == wanted.len() && !odd && !sweep {
            return self.rest();
        }
        self.move_counter(plan);
    }

    /// Nothing is to be written.
    fn rest(&mut self) {
        if self.jobs.iter().any(|job| !job.answered) {
            return self.begin();
        }
        self.end = Some(End::Settled(Box::new(SettledCounter {
            version: self.version,
            counter: self.counter.clone(),
        })));
    }

    fn move_counter(&mut self, plan: Plan) {
        let counter = Arc::new(plan.counter);
        let request = Request::WriteCounter {
            cas: self.version,
            counter: Arc::clone(&counter),
        };
        self.moving = Some(Move {
            counter,
            skipped: plan.skipped,
            left_epoch: plan.left_epoch,
            unsure: false,
        });
        self.ask(Target::Move, 0, request);
    }

    fn counter_written(&mut self) {
        let Some(moved) = self.moving.take() else {
            return;
        };
        self.remember(&moved.counter);
        self.tally.skipped.extend(moved.skipped);
        self.tally.left_epochs.extend(moved.left_epoch);
        self.version += 1;
        self.min_version = self.version;
        self.counter = Arc::unwrap_or_clone(moved.counter);
        self.own = true;
        for place in 0..self.jobs.len() {
            self.forget(place);
        }
        self.settle_all();
    }

    fn counter_refused(&mut self) {
        let Some(moved) = self.moving.take() else {
            return;
        };
        if moved.unsure {
            self.remember(&moved.counter);
        }
        self.tally.conflicts += 1;
        self.min_version = self.version + 1;
        self.begin();
    }

    /// Remembers the numbers that callers without a key were given by `counter`, or may have been.
    ///
    /// What is remembered already stays: if this write was accepted, its numbers are found by following
    /// `skipped` from there, and if it was not, they may be somebody else's.
    fn remember(&mut self, counter: &CounterDocument) {
        for job in &mut self.jobs {
            if job.answered || job.job.owner.key().is_some() || !job.had.is_empty() {
                continue;
            }
            let given = counter
                .pending
                .iter()
                .find(|entry| entry.owner == job.job.owner);
            if let Some(entry) = given {
                job.had.clone_from(&entry.numbers);
            }
        }
    }
}
