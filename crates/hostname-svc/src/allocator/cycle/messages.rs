//! What a cycle is asked, says and is told.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    allocator::Want,
    documents::{
        CounterDocument, Facts, GivenUp, IdemDocument, KeyHash, Owner, Record, SkipReason,
        StoredRecord,
    },
    hostname::Hostname,
    policy::Policy,
    store::Read,
};

/// Somebody who wants numbers.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Names the job in its answer.
    pub(crate) id: u64,
    /// Whose the numbers will be; no two jobs of a cycle have the same owner.
    pub(crate) owner: Owner,
    /// SHA-256 of what is asked.
    pub(crate) body_hash: String,
    /// Which numbers.
    pub(crate) want: Want,
    /// What holds for its prefix.
    pub(crate) policy: Arc<Policy>,
    /// What the records will say.
    pub(crate) facts: Facts,
}

/// What a job is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// These records are its own.
    Named(Vec<Record>),
    /// The counter stands at or above the floor that was asked for.
    Raised(Box<CounterDocument>),
    /// Its key was used with another body.
    KeyReused,
    /// There will be no name under this key.
    GivenUp(GivenUp),
    /// A document of its key was deleted by hand.
    Deleted,
    /// A document of its key, or a record of its, is none that we can read.
    Unreadable(String),
}

/// A call to make.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Names the call in its reply.
    pub(crate) id: u64,
    /// How often the same was asked before without use: the reason to wait a little.
    pub(crate) attempt: u32,
    /// What to ask.
    pub(crate) request: Request,
}

/// What is asked of the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    ReadCounter,
    WriteCounter {
        cas: u64,
        counter: Arc<CounterDocument>,
        /// Some of its numbers are the first ones of their form.
        opens: bool,
    },
    ReadIdem(KeyHash),
    WriteIdem {
        key: KeyHash,
        cas: u64,
        idem: Arc<IdemDocument>,
    },
    ReadRecord(Hostname),
    WriteRecord(Arc<Record>),
}

/// What the store said.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Counter(Read<CounterDocument>),
    Idem(Read<IdemDocument>),
    Record(Read<StoredRecord>),
    Written,
    Mismatch,
    /// There is a document, and it is none that we can read: which one, and why.
    Unreadable(String),
    /// No reply: a write may have been accepted, or may be later.
    Unknown,
}

/// How a cycle ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Every job is answered, every pending entry of this counter is settled.
    Settled(Box<SettledCounter>),
    /// The lock is not ours any more: go on with a new one, by `Cycle::resume`.
    Fenced { by: u64 },
    /// The counter was deleted by hand; starting it again would repeat its names.
    CounterDeleted,
    /// The counter is lower than it was: its store comes from an older state.
    Regressed { value: u64, mark: u64 },
    /// A document that decides about everybody's numbers is none that we can read.
    Unreadable(String),
    /// A reply did not fit its call: a defect.
    Confused,
}

/// A counter all of whose pending entries are known to be settled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SettledCounter {
    pub(crate) version: u64,
    pub(crate) counter: CounterDocument,
}

/// What a cycle did beside answering.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Writes of the counter that lost.
    pub(crate) conflicts: u64,
    /// Entries of somebody else that this cycle wrote documents for.
    pub(crate) recovered: u64,
    /// How many numbers were skipped.
    pub(crate) skipped: BTreeMap<SkipReason, u64>,
    /// How many were passed over.
    pub(crate) passed: u64,
    /// Token epochs left behind.
    pub(crate) left_epochs: Vec<String>,
}
