//! How a message lies in an embedded store: a byte for the encoding, the expiry, the body.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;

use crate::message::{Expiry, Moment};
use crate::store::Found;

const PLAIN: u8 = 0;
pub(crate) const ZSTD: u8 = 1;
const TOMBSTONE: u8 = 2;
const DAMAGED: u8 = 3;

/// Shorter bodies rarely shrink, and those under a hundred bytes grow.
const COMPRESS_FROM: usize = 512;

/// The fastest level: hashing and the disk are the rest of the time.
const LEVEL: i32 = 1;

/// What a row says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// A body, decoded.
    Body(Bytes, Expiry),
    /// Deleted; whether further puts are refused.
    Tombstone { blocks: bool },
    /// Found damaged, or not to be decoded.
    Damaged,
}

/// A body in its stored encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) codec: u8,
    pub(crate) bytes: Bytes,
}

impl Encoded {
    /// Compresses a body where that saves an eighth.
    pub(crate) fn of(body: &Bytes) -> Self {
        let small = (body.len() >= COMPRESS_FROM)
            .then(|| zstd::bulk::compress(body, LEVEL).ok())
            .flatten()
            .filter(|small| small.len() <= body.len() / 8 * 7);
        match small {
            Some(small) => Self {
                codec: ZSTD,
                bytes: small.into(),
            },
            None => Self {
                codec: PLAIN,
                bytes: body.clone(),
            },
        }
    }

    /// The row of a message that ends at `expiry`.
    pub(crate) fn row(&self, expiry: Expiry) -> Vec<u8> {
        let mut row = Vec::with_capacity(self.bytes.len() + 11);
        row.push(self.codec);
        let moment = match expiry {
            Expiry::Never => 0,
            Expiry::At(Moment(moment)) => moment.max(1),
        };
        put_varint(&mut row, moment);
        row.extend_from_slice(&self.bytes);
        row
    }
}

/// The body behind stored bytes of `codec`.
fn decode(codec: u8, bytes: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    match codec {
        PLAIN => Ok(Cow::Borrowed(bytes)),
        ZSTD => zstd::stream::decode_all(bytes).map(Cow::Owned),
        _ => Err(io::Error::other(format!("unknown encoding {codec}"))),
    }
}

/// The body that a column of `codec` holds; `None` when it holds none.
pub(crate) fn decode_raw(codec: i16, bytes: &[u8]) -> Option<Vec<u8>> {
    let codec = u8::try_from(codec).ok()?;
    decode(codec, bytes).ok().map(Cow::into_owned)
}

/// The row of a deleted message.
pub(crate) fn tombstone(blocks: bool) -> Vec<u8> {
    vec![TOMBSTONE, u8::from(blocks)]
}

/// The row that stands for one put aside.
pub(crate) fn damaged() -> Vec<u8> {
    vec![DAMAGED]
}

/// Reads a row. One that cannot be read is damaged: whatever a disk does to it, it is no message.
pub(crate) fn read(row: &[u8]) -> Row {
    match row {
        [PLAIN | ZSTD, rest @ ..] => {
            let body = take_varint(rest).and_then(|(moment, stored)| {
                let body = decode(row[0], stored).ok()?;
                let expiry = match moment {
                    0 => Expiry::Never,
                    moment => Expiry::At(Moment(moment)),
                };
                Some(Row::Body(Bytes::from(body.into_owned()), expiry))
            });
            body.unwrap_or(Row::Damaged)
        }
        [TOMBSTONE, blocks] => Row::Tombstone {
            blocks: *blocks != 0,
        },
        _ => Row::Damaged,
    }
}

impl From<Row> for Found {
    fn from(row: Row) -> Self {
        match row {
            Row::Body(body, expiry) => Self::Message(body, expiry),
            Row::Tombstone { blocks } => Self::Deleted { blocks },
            Row::Damaged => Self::Damaged,
        }
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f).checked_shl(u32::try_from(place).ok()? * 7)?;
        if byte & 0x80 == 0 {
            return Some((number, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_it_was_told() {
        let long = Bytes::from("long ".repeat(1000));
        for body in [Bytes::new(), Bytes::from_static(b"\0foo\xff"), long] {
            for expiry in [
                Expiry::Never,
                Expiry::At(Moment(1)),
                Expiry::At(Moment(u64::MAX)),
            ] {
                let row = Encoded::of(&body).row(expiry);
                assert_eq!(read(&row), Row::Body(body.clone(), expiry));
            }
        }
        assert_eq!(read(&tombstone(true)), Row::Tombstone { blocks: true });
        assert_eq!(read(&tombstone(false)), Row::Tombstone { blocks: false });
        assert_eq!(read(&damaged()), Row::Damaged);
    }

    #[test]
    fn only_what_shrinks_is_compressed() {
        let repeated = Encoded::of(&Bytes::from("x".repeat(COMPRESS_FROM)));
        assert_eq!(repeated.codec, ZSTD);
        assert!(repeated.bytes.len() < 64);
        let short = Encoded::of(&Bytes::from("x".repeat(COMPRESS_FROM - 1)));
        assert_eq!(short.codec, PLAIN);
        let noise: Vec<u8> = (0..4000_u32)
            .flat_map(|n| *crate::digest::Digest::of(&n.to_be_bytes()).as_bytes())
            .collect();
        assert_eq!(Encoded::of(&Bytes::from(noise)).codec, PLAIN);
    }

    #[test]
    fn what_cannot_be_read_is_damaged() {
        for row in [
            &b""[..],
            &[9, 0],
            &[PLAIN],
            &[PLAIN, 0x80],
            &[ZSTD, 0, 1, 2, 3],
            &[TOMBSTONE],
        ] {
            assert_eq!(read(row), Row::Damaged, "{row:?}");
        }
    }
}
