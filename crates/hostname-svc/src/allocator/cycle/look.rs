//! Step 4 of a cycle: what the jobs need that no pending entry has answered.

use super::{
    Answer, Cycle, Request,
    state::{EntryState, Look, Target, Verdict},
};
use crate::{
    allocator::{Want, plan::Outcome},
    documents::{GivenUp, IdemDocument, StoredRecord},
    hostname::Counter,
    store::Read,
};

impl Cycle {
    pub(super) fn look_up(&mut self, place: usize, attempt: u32) {
        let job = &mut self.jobs[place];
        if let (Some(key), Look::NotAsked) = (job.job.owner.key(), &job.look) {
            let request = Request::ReadIdem(key.clone());
            job.look = Look::Asking;
            self.ask(Target::Lookup { job: place }, attempt, request);
        }
    }

    pub(super) fn unreadable(&mut self, place: usize, which: String) {
        self.jobs[place].look = Look::Unreadable(which);
    }

    pub(super) fn looked_up(&mut self, place: usize, read: Read<IdemDocument>) {
        self.jobs[place].look = Look::Found(read);
    }

    /// Decides what an open job needs, or asks for what is missing to decide it.
    pub(super) fn judge(&mut self, place: usize) {
        let owner = &self.jobs[place].job.owner;
        let mut duplicate = false;
        for (entry, pending) in self.counter.pending.iter().enumerate() {
            if pending.owner != *owner {
                continue;
            }
            match &self.entries[entry] {
                EntryState::Settled(Outcome::Duplicate) => duplicate = true,
                EntryState::Settled(Outcome::Done) => return self.answer_from_entry(place, entry),
                _ => {
                    self.jobs[place].verdict = Some(Verdict::Replaced);
                    return;
                }
            }
        }
        match (&self.jobs[place].job.want, owner.key()) {
            (Want::Floor(floor), _) if self.counter.value >= *floor => {
                let counter = Box::new(self.counter.clone());
                self.answer(place, Answer::Raised(counter));
            }
            (Want::Floor(_), _) => self.jobs[place].verdict = Some(Verdict::Allocate),
            (_, Some(_)) => self.judge_keyed(place, duplicate),
            (_, None) => self.judge_keyless(place),
        }
    }

    pub(super) fn judge_keyed(&mut self, place: usize, duplicate: bool) {
        let job = &mut self.jobs[place];
        match &job.look {
            Look::NotAsked => self.look_up(place, self.rounds),
            Look::Asking | Look::Verifying { .. } => (),
            // The key's document is known to exist: the read is stale.
            Look::Found(Read::Absent) if duplicate => {
                job.look = Look::NotAsked;
                self.look_up(place, self.rounds + 1);
            }
            Look::Found(Read::Absent) => job.verdict = Some(Verdict::Allocate),
            Look::Found(Read::Deleted { .. }) => self.answer(place, Answer::Deleted),
            Look::Unreadable(which) => {
                let answer = Answer::Unreadable(which.clone());
                self.answer(place, answer);
            }
            Look::Found(Read::Present { data, .. }) => {
                if data.body_hash != job.job.body_hash || data.prefix != self.prefix {
                    self.answer(place, Answer::KeyReused);
                } else if let Some(failed) = data.failed {
                    self.answer(place, Answer::GivenUp(failed));
                } else {
                    let numbers = data.numbers.clone();
                    self.verify(place, numbers);
                }
            }
        }
    }

    /// A caller without a key that may have numbers already looks for them: followed through
    /// `skipped` to the ones that replaced them, then by their records.
    pub(super) fn judge_keyless(&mut self, place: usize) {
        if matches!(self.jobs[place].look, Look::Verifying { .. }) {
            return;
        }
        let followed = (self.jobs[place].had.iter())
            .map(|&number| self.follow(number))
            .collect::<Option<Vec<_>>>();
        match followed {
            Some(numbers) if !numbers.is_empty() => {
                self.jobs[place].had.clone_from(&numbers);
                self.verify(place, numbers);
            }
            _ => self.never_had_any(place),
        }
    }

    /// The number that stands for `number` now; `None` when nobody was ever given it by this counter.
    pub(super) fn follow(&self, mut number: Counter) -> Option<Counter> {
        while number.get() <= self.counter.value && !self.counter.has_passed(number.get()) {
            match self.counter.skipped.get(&number.get()) {
                None => return Some(number),
                Some(skip) => number = skip.next?,
            }
        }
        None
    }

    pub(super) fn never_had_any(&mut self, place: usize) {
        let job = &mut self.jobs[place];
        job.had.clear();
        job.look = Look::NotAsked;
        job.verdict = Some(Verdict::Allocate);
    }

    pub(super) fn verify(&mut self, place: usize, numbers: Vec<Counter>) {
        let hostnames: Option<Vec<_>> = numbers
            .iter()
            .map(|&number| self.counter.hostname(&self.prefix, number))
            .collect();
        let Some(hostnames) = hostnames.filter(|hostnames| !hostnames.is_empty()) else {
            // Beyond the counter that was read they may have another form.
            if numbers.iter().any(|it| it.get() > self.counter.value) {
                self.jobs[place].verdict = Some(Verdict::Again);
                return;
            }
            return self.answer(place, Answer::GivenUp(GivenUp::Exhausted));
        };
        self.jobs[place].look = Look::Verifying {
            records: vec![None; numbers.len()],
            numbers,
        };
        for (number, hostname) in hostnames.into_iter().enumerate() {
            self.ask(
                Target::Verify { job: place, number },
                0,
                Request::ReadRecord(hostname),
            );
        }
    }

    /// One of the job's records is none that we can read: it may be its own, or somebody else's.
    pub(super) fn unverifiable(&mut self, place: usize, which: String) {
        if !self.jobs[place].answered {
            self.answer(place, Answer::Unreadable(which));
        }
    }

    pub(super) fn verified(&mut self, place: usize, number: usize, read: Read<StoredRecord>) {
        let job = &mut self.jobs[place];
        let Look::Verifying { numbers, records } = &mut job.look else {
            return;
        };
        records[number] = Some(read);
        let Some(records) = records.iter().cloned().collect::<Option<Vec<_>>>() else {
            return;
        };
        let own = |(read, number): (&Read<StoredRecord>, &Counter)| match read {
            Read::Present { data, .. } => data
                .clone()
                .ours()
                .filter(|record| record.is_of(&job.job.owner, &self.prefix, *number)),
            _ => None,
        };
        let owned = records.iter().zip(numbers.iter()).map(own);
        if let Some(owned) = owned.collect::<Option<Vec<_>>>() {
            return self.answer(place, Answer::Named(owned));
        }
        let keyed = job.job.owner.key().is_some();
        if keyed
            && records
                .iter()
                .any(|read| matches!(read, Read::Deleted { .. }))
        {
            self.answer(place, Answer::Deleted);
        } else if keyed || records.contains(&Read::Absent) {
            job.look = Look::NotAsked;
            job.verdict = Some(Verdict::Again);
        } else {
            self.never_had_any(place);
        }
    }
}
