//! What a job sees: the committed rows, under them what its group wrote, under that its own writes.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::Row;
use crate::error::{ReadError, WriteError};
use crate::keys::Keys;
use crate::snapshot::Snapshot;

/// The table as one job sees it, and where its writes are gathered.
pub struct Transaction<'a> {
    committed: &'a Snapshot,
    group: &'a Writes,
    own: Writes,
    /// The first read that failed. A job that swallows it is undone all the same.
    fault: Option<ReadError>,
}

/// Writes that are not committed yet, by table and key; `None` deletes.
///
/// Ordered, so that a group touches neighbouring pages one after the other.
#[derive(Default)]
pub(crate) struct Writes {
    tables: BTreeMap<String, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    bytes: usize,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(committed: &'a Snapshot, group: &'a Writes) -> Self {
        Self {
            committed,
            group,
            own: Writes::default(),
            fault: None,
        }
    }

    /// The value of `key`, as this job and the ones before it left it.
    ///
    /// # Errors
    ///
    /// [`WriteError::Read`] when the file cannot be read. The job is then undone, whatever it
    /// returns.
    pub fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, WriteError> {
        for writes in [&self.own, self.group] {
            if let Some(written) = writes.get(table, key) {
                return Ok(written.clone());
            }
        }
        let read = self.committed.get(table, key);
        self.noting_faults(read)
    }

    /// The first `limit` rows of `table` within `keys`, as this job and the ones before it left
    /// them.
    ///
    /// # Errors
    ///
    /// As for [`Transaction::get`].
    pub fn scan(&mut self, table: &str, keys: &Keys, limit: usize) -> Result<Vec<Row>, WriteError> {
        let read = self.merged(table, keys, limit);
        self.noting_faults(read)
    }

    /// Sets `key` to `value`, once this job returned `Ok` and its group is committed.
    pub fn put(&mut self, table: &str, key: &[u8], value: &[u8]) {
        self.own.set(table, key.to_vec(), Some(value.to_vec()));
    }

    /// Removes `key`, if it is there, once this job returned `Ok` and its group is committed.
    pub fn delete(&mut self, table: &str, key: &[u8]) {
        self.own.set(table, key.to_vec(), None);
    }

    /// What the job wrote, or the read that failed it.
    pub(crate) fn finish(self) -> Result<Writes, ReadError> {
        self.fault.map_or(Ok(self.own), Err)
    }

    fn noting_faults<T>(&mut self, read: Result<T, ReadError>) -> Result<T, WriteError> {
        read.map_err(|fault| {
            self.fault.get_or_insert_with(|| fault.clone());
            WriteError::Read(fault)
        })
    }

    fn merged(&self, table: &str, keys: &Keys, limit: usize) -> Result<Vec<Row>, ReadError> {
        let mut written = BTreeMap::new();
        written.extend(self.group.within(table, keys));
        written.extend(self.own.within(table, keys));
        let mut written = written.into_iter().peekable();

        let mut rows = Vec::new();
        for committed in self.committed.rows(table, keys)? {
            let (key, value) = committed?;
            while rows.len() < limit
                && let Some((new, written)) = written.next_if(|(new, _)| *new < key.as_slice())
            {
                rows.extend(written.map(|value| (new.to_vec(), value.to_vec())));
            }
            if rows.len() >= limit {
                return Ok(rows);
            }
            match written.next_if(|(new, _)| *new == key.as_slice()) {
                Some((_, rewritten)) => rows.extend(rewritten.map(|value| (key, value.to_vec()))),
                None => rows.push((key, value)),
            }
        }
        let rest = written.filter_map(|(key, value)| Some((key.to_vec(), value?.to_vec())));
        rows.extend(rest.take(limit.saturating_sub(rows.len())));
        Ok(rows)
    }
}

impl Writes {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn tables(
        &self,
    ) -> impl Iterator<Item = (&String, &BTreeMap<Vec<u8>, Option<Vec<u8>>>)> {
        self.tables.iter()
    }

    /// Takes over what a later job wrote.
    pub(crate) fn absorb(&mut self, later: Writes) {
        for (table, rows) in later.tables {
            for (key, value) in rows {
                self.set(&table, key, value);
            }
        }
    }

    fn get(&self, table: &str, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.tables.get(table)?.get(key)
    }

    fn set(&mut self, table: &str, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        if !self.tables.contains_key(table) {
            self.tables.insert(table.to_owned(), BTreeMap::new());
        }
        if let Some(rows) = self.tables.get_mut(table) {
            rows.insert(key, value);
        }
    }

    fn within<'w>(
        &'w self,
        table: &str,
        keys: &Keys,
    ) -> impl Iterator<Item = (&'w [u8], Option<&'w [u8]>)> {
        let rows = self.tables.get(table).filter(|_| !keys.is_empty());
        rows.into_iter()
            .flat_map(|rows| rows.range::<[u8], (Bound<&[u8]>, Bound<&[u8]>)>(keys.bounds()))
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}
