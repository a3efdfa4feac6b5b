//! Reading what is committed.

use std::iter;

use redb::{
    Database, Error, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTableMetadata,
    StorageError, TableDefinition, TableHandle,
};

use crate::Row;
use crate::error::ReadError;
use crate::guard::guarded;
use crate::keys::Keys;

/// Every table has byte strings for keys and for values.
pub(crate) type Bytes = &'static [u8];

/// The committed rows as they were at one moment.
pub(crate) struct Snapshot {
    transaction: ReadTransaction,
}

impl Snapshot {
    pub(crate) fn of(database: &Database) -> Result<Self, ReadError> {
        let transaction = guarded(|| database.begin_read()).map_err(ReadError::storage)?;
        Ok(Self { transaction })
    }

    pub(crate) fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(table) = self.table(table)? else {
            return Ok(None);
        };
        let row = || {
            table
                .get(key)
                .map(|row| row.map(|value| value.value().to_vec()))
        };
        guarded(row).map_err(ReadError::storage)
    }

    pub(crate) fn count(&self, table: &str) -> Result<u64, ReadError> {
        let table = self.table(table)?;
        table.map_or(Ok(0), |table| {
            guarded(|| table.len()).map_err(ReadError::storage)
        })
    }

    pub(crate) fn scan(
        &self,
        table: &str,
        keys: &Keys,
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
        self.rows(table, keys)?.take(limit).collect()
    }

    /// The rows within `keys`, read as they are asked for.
    pub(crate) fn rows(
        &self,
        table: &str,
        keys: &Keys,
    ) -> Result<impl Iterator<Item = Result<Row, ReadError>> + use<>, ReadError> {
        let mut range = match self.table(table)? {
            Some(table) if !keys.is_empty() => {
                let range = guarded(|| table.range::<&[u8]>(keys.bounds()));
                Some(range.map_err(ReadError::storage)?)
            }
            _ => None,
        };
        Ok(iter::from_fn(move || {
            let rows = range.as_mut()?;
            let row = guarded(|| {
                let row = rows.next().transpose()?;
                let owned = row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec()));
                Ok::<_, StorageError>(owned)
            });
            if row.is_err() {
                range = None;
            }
            row.map_err(ReadError::storage).transpose()
        }))
    }

    /// The names of all tables, ours too.
    pub(crate) fn tables(&self) -> Result<Vec<String>, ReadError> {
        let names = guarded(|| {
            let tables = self.transaction.list_tables()?;
            Ok::<_, StorageError>(tables.map(|table| table.name().to_owned()).collect())
        });
        names.map_err(ReadError::storage)
    }

    /// A table that was never written to is `None`, which reads as empty.
    fn table(&self, name: &str) -> Result<Option<ReadOnlyTable<Bytes, Bytes>>, ReadError> {
        match guarded(|| self.transaction.open_table(TableDefinition::new(name))) {
            Ok(table) => Ok(Some(table)),
            Err(Error::TableDoesNotExist(_)) => Ok(None),
            Err(cause) => Err(ReadError::storage(cause)),
        }
    }
}
