//! Documents with their whole past, so that a read can be answered from any of it.

use std::collections::{BTreeMap, HashMap};

use crate::{
    allocator::cycle::{Reply, Request},
    documents::{CounterDocument, IdemDocument, KeyHash, Record, StoredRecord},
    hostname::Hostname,
    store::Read,
};

/// All versions of everything, the first one first.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) counter: Vec<CounterDocument>,
    pub(crate) idem: HashMap<KeyHash, Vec<IdemDocument>>,
    pub(crate) records: BTreeMap<Hostname, Record>,
    /// Writes on their way.
    pub(crate) late: Vec<Request>,
}

impl Store {
    /// Answers a request from the state that was newest `back` versions ago.
    pub(super) fn serve(&mut self, request: &Request, back: usize) -> Reply {
        match request {
            Request::ReadCounter => Reply::Counter(seen(&self.counter, back)),
            Request::ReadIdem(key) => {
                Reply::Idem(seen(self.idem.get(key).map_or(&[], Vec::as_slice), back))
            }
            Request::ReadRecord(hostname) => {
                let record = self.records.get(hostname).cloned();
                let versions: Vec<_> = record
                    .map(|record| StoredRecord::Ours(Box::new(record)))
                    .into_iter()
                    .collect();
                Reply::Record(seen(&versions, back))
            }
            Request::WriteCounter { cas, counter, .. } => {
                put(&mut self.counter, *cas, CounterDocument::clone(counter))
            }
            Request::WriteIdem { key, cas, idem } => put(
                self.idem.entry(key.clone()).or_default(),
                *cas,
                IdemDocument::clone(idem),
            ),
            Request::WriteRecord(record) => {
                if self.records.contains_key(&record.hostname) {
                    return Reply::Mismatch;
                }
                self.records
                    .insert(record.hostname.clone(), Record::clone(record));
                Reply::Written
            }
        }
    }
}

fn seen<T: Clone>(versions: &[T], back: usize) -> Read<T> {
    let version = versions.len().saturating_sub(back);
    match version.checked_sub(1) {
        None => Read::Absent,
        Some(last) => Read::Present {
            version: version as u64,
            data: versions[last].clone(),
        },
    }
}

fn put<T>(versions: &mut Vec<T>, cas: u64, data: T) -> Reply {
    if versions.len() as u64 != cas {
        return Reply::Mismatch;
    }
    versions.push(data);
    Reply::Written
}
