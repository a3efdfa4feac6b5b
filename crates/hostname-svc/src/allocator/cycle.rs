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

mod counter;
mod look;
mod messages;
mod settle;
mod state;

use std::collections::{HashMap, VecDeque};

pub(crate) use self::messages::{Answer, Call, End, Job, Reply, Request, SettledCounter, Tally};
use self::state::{EntryState, JobState, Look, Move, Target};
#[cfg(test)]
use crate::documents::Owner;
use crate::{
    documents::{CounterDocument, Fence},
    hostname::Prefix,
};

/// A cycle under way. See the [module](self).
#[derive(Debug)]
pub(crate) struct Cycle {
    prefix: Prefix,
    fence: Option<Fence>,
    sweep: bool,
    jobs: Vec<JobState>,
    known: Option<SettledCounter>,
    /// Counters of a lower version are known to be stale.
    min_version: u64,
    /// Counters of a lower value are stale, or come from an older state of the store.
    mark: u64,
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

impl Cycle {
    /// A cycle for `jobs`. `known` is what the last cycle on this prefix ended with; with `sweep` the
    /// counter's pending entries are cleared away even when nothing else is to be written. Without a
    /// `fence`, check-and-set is all that keeps other cycles out, as it would in any case.
    pub(crate) fn new(
        prefix: Prefix,
        fence: Option<Fence>,
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
            mark: 0,
            min_version: known.as_ref().map_or(0, |known| known.version),
            known,
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

    /// The counter has come as far as `mark`: one that has not is refused, unless it is raised.
    pub(crate) fn with_mark(mut self, mark: u64) -> Self {
        self.mark = mark;
        self
    }

    /// Goes on under a new lock, with the same jobs and with what is known about them.
    pub(crate) fn resume(&mut self, fence: Fence) {
        self.fence = Some(fence);
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
            (Target::Lookup { job }, Reply::Unreadable(which)) => self.unreadable(job, which),
            (Target::Verify { job, .. }, Reply::Unreadable(which)) => self.unverifiable(job, which),
            (Target::Idem { entry, .. }, Reply::Unreadable(which)) => {
                self.idem_unreadable(entry, which)
            }
            // Such a record may be the entry's own, written by a newer version: nobody may go on.
            (Target::Counter | Target::Move | Target::Record { .. }, Reply::Unreadable(which)) => {
                self.end = Some(End::Unreadable(which))
            }
            _ => self.end = Some(End::Confused),
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

    fn answer_from_entry(&mut self, place: usize, entry: usize) {
        let pending = &self.counter.pending[entry];
        let answer = if pending.body_hash != self.jobs[place].job.body_hash {
            Answer::KeyReused
        } else if let Some(failed) = pending.failed {
            Answer::GivenUp(failed)
        } else {
            let records = pending.numbers.iter().filter_map(|&counter| {
                let hostname = self.counter.hostname(&self.prefix, counter)?;
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
}
