//! What a cycle knows of its jobs, of the entries it settles, and of the calls under way.

use std::{collections::BTreeMap, sync::Arc};

use super::Job;
use crate::{
    allocator::plan::Outcome,
    documents::{CounterDocument, IdemDocument, Owner, SkipReason, StoredRecord},
    hostname::Counter,
    store::Read,
};

#[derive(Debug)]
pub(super) struct JobState {
    pub(super) job: Job,
    pub(super) answered: bool,
    pub(super) verdict: Option<Verdict>,
    pub(super) look: Look,
    /// Without a key: the first numbers that a write of the counter gave it, or may have given it. The
    /// ones that replaced them are found from there.
    pub(super) had: Vec<Counter>,
}

/// What a job needs of the next write of the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Numbers.
    Allocate,
    /// It is pending, and some of its numbers will be replaced.
    Replaced,
    /// Nothing; what it was given is not to be seen yet. Read again.
    Again,
}

/// What is known of the numbers that a job may have already.
#[derive(Debug)]
pub(super) enum Look {
    NotAsked,
    Asking,
    Found(Read<IdemDocument>),
    /// The key's document is none that we can read.
    Unreadable(String),
    /// Reading the records of these numbers.
    Verifying {
        numbers: Vec<Counter>,
        records: Vec<Option<Read<StoredRecord>>>,
    },
}

#[derive(Debug)]
pub(super) enum EntryState {
    /// On its way through the document of its key.
    Idem,
    /// On its way through its records: for each number whether it is its own.
    Records(Vec<Option<Finding>>),
    Settled(Outcome),
}

#[derive(Debug, Clone)]
pub(super) enum Finding {
    Own,
    Taken(Option<Owner>),
}

/// A write of the counter under way.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) counter: Arc<CounterDocument>,
    pub(super) skipped: BTreeMap<SkipReason, u64>,
    pub(super) passed: u64,
    pub(super) left_epoch: Option<String>,
    /// It was made before without a reply, so it may have been accepted.
    pub(super) unsure: bool,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
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
