//! Steps 1, 5 and 6 of a cycle: the counter is read, and moved when there is a reason to.

use std::sync::Arc;

use super::{
    Cycle, End, Request, SettledCounter,
    state::{EntryState, JobState, Look, Move, Target, Verdict},
};
use crate::{
    allocator::{
        Want,
        cycle::{Answer, Job},
        plan::{Fenced, Outcome, Plan, plan},
    },
    documents::CounterDocument,
    store::Read,
};

/// How often a counter that is too low is read again, in something over a second, before it is believed.
const STALE_READS: u32 = 20;

impl Cycle {
    /// Reads the counter, and meanwhile looks up the keys: a look-up may be as stale as it likes.
    pub(super) fn begin(&mut self) {
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
    pub(super) fn forget(&mut self, place: usize) {
        let job = &mut self.jobs[place];
        job.verdict = None;
        if !matches!(job.look, Look::Asking) {
            job.look = Look::NotAsked;
        }
    }

    pub(super) fn counter_read(&mut self, read: Read<CounterDocument>, attempt: u32) {
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
        if self.counter.value < self.mark && !self.is_raised() {
            return self.falls_short(attempt);
        }
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

    /// The counter is lower than it was: the read is stale, or the store is.
    fn falls_short(&mut self, attempt: u32) {
        if attempt < STALE_READS {
            self.reading = true;
            return self.ask(Target::Counter, attempt + 1, Request::ReadCounter);
        }
        self.end = Some(End::Regressed {
            value: self.counter.value,
            mark: self.mark,
        });
    }

    /// Whether somebody asks for a floor that leads beyond everything given out.
    fn is_raised(&self) -> bool {
        let raises =
            |job: &JobState| matches!(job.job.want, Want::Floor(floor) if floor >= self.mark);
        self.jobs.iter().any(raises)
    }

    /// All is settled and every job judged: moves the counter, reads again, or ends.
    pub(super) fn conclude(&mut self) {
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
        let plan = match plan(
            &self.prefix,
            &self.counter,
            &outcomes,
            &jobs,
            self.fence.as_ref(),
        ) {
            Ok(plan) => plan,
            Err(Fenced { by }) => {
                self.end = Some(End::Fenced { by });
                return;
            }
        };
        for &(place, why) in &plan.refused {
            self.answer(wanted[place], Answer::GivenUp(why));
        }
        if plan.refused.len() == wanted.len() && !odd && !sweep {
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
            opens: plan.opens || self.version == 0,
        };
        self.moving = Some(Move {
            counter,
            skipped: plan.skipped,
            passed: plan.passed,
            left_epoch: plan.left_epoch,
            unsure: false,
        });
        self.ask(Target::Move, 0, request);
    }

    pub(super) fn counter_written(&mut self) {
        let Some(moved) = self.moving.take() else {
            return;
        };
        self.remember(&moved.counter);
        for (why, numbers) in moved.skipped {
            *self.tally.skipped.entry(why).or_default() += numbers;
        }
        self.tally.passed += moved.passed;
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

    pub(super) fn counter_refused(&mut self) {
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
