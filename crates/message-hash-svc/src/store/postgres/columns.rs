//! Rows as PostgreSQL has them.

use crate::digest::Digest;
use crate::message::{Expiry, Moment};
use crate::store::row::{self, Row};

/// The codec of a message that was deleted.
pub(super) const TOMBSTONE: i16 = 2;

/// The codec of one that was, and may not be kept again.
pub(super) const BLOCKING_TOMBSTONE: i16 = 3;

/// Codec, body, and expiry in milliseconds since 1970.
pub(super) type Raw = (i16, Vec<u8>, Option<i64>);

/// Rows, column by column.
#[derive(Clone, Default)]
pub(super) struct Columns {
    pub(super) digests: Vec<Vec<u8>>,
    pub(super) codecs: Vec<i16>,
    pub(super) bodies: Vec<Vec<u8>>,
    pub(super) expiries: Vec<Option<i64>>,
}

impl Columns {
    pub(super) fn of(rows: impl Iterator<Item = (Digest, i16, Vec<u8>, Option<i64>)>) -> Self {
        let mut columns = Self::default();
        for (digest, codec, body, expiry) in rows {
            columns.digests.push(digest.as_bytes().to_vec());
            columns.codecs.push(codec);
            columns.bodies.push(body);
            columns.expiries.push(expiry);
        }
        columns
    }
}

/// A row as everybody understands it.
pub(super) fn row_of((codec, body, expiry): Raw) -> Row {
    let expiry = expiry.map_or(Expiry::Never, |at| {
        Expiry::At(Moment(u64::try_from(at).unwrap_or(0)))
    });
    match codec {
        TOMBSTONE => Row::Tombstone { blocks: false },
        BLOCKING_TOMBSTONE => Row::Tombstone { blocks: true },
        _ => match row::decode_raw(codec, &body) {
            Some(body) => Row::Body(body.into(), expiry),
            None => Row::Damaged,
        },
    }
}

/// Whether a column of `codec` holds the message with this digest.
pub(super) fn is_sound(digest: &Digest, codec: i16, body: &[u8]) -> bool {
    row::decode_raw(codec, body).is_some_and(|body| Digest::of(&body) == *digest)
}

/// An expiry as a column.
pub(super) fn millis(expiry: Expiry) -> Option<i64> {
    match expiry {
        Expiry::Never => None,
        Expiry::At(Moment(at)) => Some(i64::try_from(at).unwrap_or(i64::MAX)),
    }
}
