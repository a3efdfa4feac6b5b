//! Reading what is committed.

use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTableMetadata,
    TableDefinition, TableError,
};

use crate::Row;
use crate::error::ReadError;
use crate::keys::Keys;

/// Every table has byte strings for keys and for values.
pub(crate) type Bytes = &'static [u8];

/// The committed rows as they were at one moment.
pub(crate) struct Snapshot {
    transaction: ReadTransaction,
}

impl Snapshot {
    pub(crate) fn of(database: &Database) -> Result<Self, ReadError> {
        let transaction = database.begin_read().map_err(ReadError::storage)?;
        Ok(Self { transaction })
    }

    pub(crate) fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(table) = self.table(table)? else {
            return Ok(None);
        };
        let row = table.get(key).map_err(ReadError::storage)?;
        Ok(row.map(|value| value.value().to_vec()))
    }

    pub(crate) fn count(&self, table: &str) -> Result<u64, ReadError> {
        let table = self.table(table)?;
        table.map_or(Ok(0), |table| table.len().map_err(ReadError::storage))
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
        let range = match self.table(table)? {
            Some(table) if !keys.is_empty() => Some(
                table
                    .range::<&[u8]>(keys.bounds())
                    .map_err(ReadError::storage)?,
            ),
            _ => None,
        };
        Ok(range.into_iter().flatten().map(|row| {
            let (key, value) = row.map_err(ReadError::storage)?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        }))
    }

    /// A table that was never written to is `None`, which reads as empty.
    fn table(&self, name: &str) -> Result<Option<ReadOnlyTable<Bytes, Bytes>>, ReadError> {
        match self.transaction.open_table(TableDefinition::new(name)) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(cause) => Err(ReadError::storage(cause)),
        }
    }
}
