//! Steps 2 and 3 of a cycle: every entry pending in the counter is settled, by the document of its key
//! and then by its records.

use std::sync::Arc;

use super::{
    Cycle, End, Request,
    state::{EntryState, Finding, Target},
};
use crate::{
    allocator::plan::Outcome,
    documents::{IdemDocument, StoredRecord},
    store::Read,
};

impl Cycle {
    /// Settles every pending entry. Those of an own write begin with their writes; those found begin
    /// with reads, since most often they are settled already: a document that is there is there.
    pub(super) fn settle_all(&mut self) {
        self.entries = self
            .counter
            .pending
            .iter()
            .map(|_| EntryState::Idem)
            .collect();
        self.unsettled = self.entries.len();
        for entry in 0..self.entries.len() {
            if self.counter.pending[entry].owner.key().is_none() {
                self.start_records(entry);
            } else if self.own {
                self.write_idem(entry);
            } else {
                self.read_idem(entry, false, 0);
            }
        }
    }

    pub(super) fn write_idem(&mut self, entry: usize) {
        let pending = &self.counter.pending[entry];
        let Some(key) = pending.owner.key() else {
            return;
        };
        let request = Request::WriteIdem {
            key: key.clone(),
            cas: pending.generation,
            idem: Arc::new(pending.idem(&self.prefix)),
        };
        self.ask(
            Target::Idem {
                entry,
                proven: false,
            },
            0,
            request,
        );
    }

    pub(super) fn read_idem(&mut self, entry: usize, proven: bool, attempt: u32) {
        if let Some(key) = self.counter.pending[entry].owner.key() {
            let request = Request::ReadIdem(key.clone());
            self.ask(Target::Idem { entry, proven }, attempt, request);
        }
    }

    pub(super) fn idem_written(&mut self, entry: usize) {
        self.tally.recovered += u64::from(!self.own);
        self.start_records(entry);
    }

    pub(super) fn idem_read(
        &mut self,
        entry: usize,
        proven: bool,
        read: Read<IdemDocument>,
        attempt: u32,
    ) {
        let pending = &self.counter.pending[entry];
        if read.version() <= pending.generation {
            return match proven {
                true => self.read_idem(entry, true, attempt + 1),
                false => self.write_idem(entry),
            };
        }
        match read {
            Read::Present { data, .. } if data == pending.idem(&self.prefix) => {
                self.start_records(entry)
            }
            _ => self.settled(entry, Outcome::Duplicate),
        }
    }

    /// There is a document of the key, and whatever it says, it is not what this entry would write. That
    /// ends an entry none of whose records was tried; of one that was moved, some may be there.
    pub(super) fn idem_unreadable(&mut self, entry: usize, which: String) {
        match self.counter.pending[entry].generation {
            0 => self.settled(entry, Outcome::Duplicate),
            _ => self.end = Some(End::Unreadable(which)),
        }
    }

    pub(super) fn start_records(&mut self, entry: usize) {
        let numbers = self.counter.pending[entry].numbers.len();
        self.entries[entry] = EntryState::Records(vec![None; numbers]);
        for number in 0..numbers {
            if self.own {
                self.write_record(entry, number);
            } else {
                self.read_record(entry, number, false, 0);
            }
        }
        self.conclude_records(entry);
    }

    pub(super) fn write_record(&mut self, entry: usize, number: usize) {
        let pending = &self.counter.pending[entry];
        let counter = pending.numbers[number];
        match self.counter.hostname(&self.prefix, counter) {
            Some(hostname) => {
                let record = Arc::new(pending.record(&self.prefix, counter, hostname));
                let target = Target::Record {
                    entry,
                    number,
                    proven: false,
                };
                self.ask(target, 0, Request::WriteRecord(record));
            }
            None => self.found(entry, number, Finding::Taken(None)),
        }
    }

    pub(super) fn read_record(&mut self, entry: usize, number: usize, proven: bool, attempt: u32) {
        let counter = self.counter.pending[entry].numbers[number];
        match self.counter.hostname(&self.prefix, counter) {
            Some(hostname) => {
                let target = Target::Record {
                    entry,
                    number,
                    proven,
                };
                self.ask(target, attempt, Request::ReadRecord(hostname));
            }
            None => self.found(entry, number, Finding::Taken(None)),
        }
    }

    pub(super) fn record_written(&mut self, entry: usize, number: usize) {
        let keyless = self.counter.pending[entry].owner.key().is_none();
        self.tally.recovered += u64::from(!self.own && keyless);
        self.found(entry, number, Finding::Own);
    }

    pub(super) fn record_read(
        &mut self,
        entry: usize,
        number: usize,
        proven: bool,
        read: Read<StoredRecord>,
        attempt: u32,
    ) {
        let pending = &self.counter.pending[entry];
        let finding = match read {
            Read::Absent if proven => return self.read_record(entry, number, true, attempt + 1),
            Read::Absent => return self.write_record(entry, number),
            Read::Deleted { .. } => Finding::Taken(None),
            Read::Present { data, .. } => match data.ours() {
                Some(record)
                    if record.is_of(&pending.owner, &self.prefix, pending.numbers[number]) =>
                {
                    Finding::Own
                }
                other => Finding::Taken(other.map(|record| record.owner)),
            },
        };
        self.found(entry, number, finding);
    }

    pub(super) fn found(&mut self, entry: usize, number: usize, finding: Finding) {
        if let EntryState::Records(findings) = &mut self.entries[entry] {
            findings[number] = Some(finding);
        }
        self.conclude_records(entry);
    }

    /// Settles an entry whose records are all known.
    pub(super) fn conclude_records(&mut self, entry: usize) {
        let EntryState::Records(findings) = &self.entries[entry] else {
            return;
        };
        let Some(findings) = findings.iter().cloned().collect::<Option<Vec<_>>>() else {
            return;
        };
        let numbers = &self.counter.pending[entry].numbers;
        let taken: Vec<_> = numbers
            .iter()
            .zip(findings)
            .filter_map(|(number, finding)| match finding {
                Finding::Own => None,
                Finding::Taken(owner) => Some((*number, owner)),
            })
            .collect();
        let outcome = match taken.is_empty() {
            true => Outcome::Done,
            false => Outcome::Taken(taken),
        };
        self.settled(entry, outcome);
    }

    pub(super) fn settled(&mut self, entry: usize, outcome: Outcome) {
        let done = outcome == Outcome::Done;
        self.entries[entry] = EntryState::Settled(outcome);
        self.unsettled -= 1;
        let owner = &self.counter.pending[entry].owner;
        let job = self
            .jobs
            .iter()
            .position(|job| job.job.owner == *owner && !job.answered);
        if let (true, Some(place)) = (done, job) {
            self.answer_from_entry(place, entry);
        }
    }
}
