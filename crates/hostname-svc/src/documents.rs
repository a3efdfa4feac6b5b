//! What is stored: the counter of a prefix, one document per idempotency key, one record per hostname,
//! one per stem. All carry a format number; a document in a format that is not ours is not understood.

mod counter;
mod fence;
mod format;
mod key;
pub mod layout;
mod moment;
mod operation;
mod record;
mod retirement;
mod stem;

pub use self::{
    counter::{CounterDocument, CounterFormat, Entry, GivenUp, Skip, SkipReason},
    fence::Fence,
    format::Format,
    key::{IdemDocument, KeyHash, Owner},
    moment::Moment,
    operation::{Operation, Outcome},
    record::{Facts, Record, StoredRecord},
    retirement::Retirement,
    stem::StemDocument,
};
