//! The rows on the disk.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `epoch` | names the life of this store |
//! | `meta` | `last_token` | the largest token ever granted, 8 bytes, big-endian |
//! | `sessions` | the session's lease, 8 bytes, big-endian | whose it is and how long it lives, JSON |
//! | `grants` | a request at a lock | how it holds the lock, JSON |
//! | `resting` | the lock's name | for how many milliseconds nobody gets it, 8 bytes, big-endian |
//! | `notes` | the lock's name | what a holder left, text |
//! | `ended` | a request at a lock | nothing |
//!
//! A request at a lock is: length of the lock's name (2 bytes, big-endian), the name, the request id.
//!
//! Format 1 knew exclusive locks only, under the lock's name; it is refused.

mod values;

use std::time::Duration;

use durable::{Durable, Keys, Row, Transaction, WriteError};
use uuid::Uuid;

use self::values::{grant_of, grant_row, session_of, session_row};
use super::EmbeddedError;
use crate::{
    lease::{LeaseId, LockKey, Note, RequestId},
    state::{Change, Saved},
};

/// Number of this format; a store with another one is refused.
pub(super) const FORMAT: u32 = 2;

const META: &str = "meta";
const EPOCH: &[u8] = b"epoch";
const LAST_TOKEN: &[u8] = b"last_token";
const SESSIONS: &str = "sessions";
const GRANTS: &str = "grants";
const RESTING: &str = "resting";
const NOTES: &str = "notes";
const ENDED: &str = "ended";

/// The name of this store's life, made up at its first start.
pub(super) async fn epoch(disk: &Durable) -> Result<String, EmbeddedError> {
    let stored = disk
        .transact(|tx| {
            let stored = tx.get(META, EPOCH)?;
            Ok::<_, WriteError>(stored.unwrap_or_else(|| {
                let fresh = Uuid::new_v4().to_string().into_bytes();
                tx.put(META, EPOCH, &fresh);
                fresh
            }))
        })
        .await?;
    text(stored, "the epoch")
}

/// What the last process left.
pub(super) fn load(disk: &Durable) -> Result<Saved, EmbeddedError> {
    let last_token = disk.get(META, LAST_TOKEN)?;
    Ok(Saved {
        last_token: match last_token {
            Some(row) => number(&row, "the last token")?,
            None => 0,
        },
        sessions: all(disk, SESSIONS, |(id, row)| {
            let id = number(&id, "the lease of a session")?;
            Ok((LeaseId(id.cast_signed()), session_of(&row)?))
        })?,
        grants: all(disk, GRANTS, |(at, row)| {
            let (key, request) = request_of(&at)?;
            Ok((key, grant_of(request, &row)?))
        })?,
        resting: all(disk, RESTING, |(key, row)| {
            let delay = number(&row, "the delay of a lock")?;
            Ok((lock_key(&key)?, Duration::from_millis(delay)))
        })?,
        notes: all(disk, NOTES, |(key, row)| {
            let note = Note::try_from(text(row, "a note")?);
            let note = note.map_err(|err| EmbeddedError::Row(format!("a note {err}")))?;
            Ok((lock_key(&key)?, note))
        })?,
        ended: all(disk, ENDED, |(at, _)| request_of(&at))?,
    })
}

/// Writes what steps have changed, in their order.
pub(super) fn write(tx: &mut Transaction<'_>, changes: &[Change], last_token: u64) {
    for change in changes {
        match change {
            Change::Granted(key, grant) => {
                let at = request_key(key, &grant.wish.request_id);
                tx.put(GRANTS, &at, &grant_row(grant));
                tx.put(META, LAST_TOKEN, &last_token.to_be_bytes());
            }
            Change::Over(key, request) => tx.delete(GRANTS, &request_key(key, request)),
            Change::Ended(key, request) => tx.put(ENDED, &request_key(key, request), &[]),
            Change::Forgotten(key, request) => tx.delete(ENDED, &request_key(key, request)),
            Change::Resting(key, Some(delay)) => {
                let delay = values::millis(*delay).to_be_bytes();
                tx.put(RESTING, key.as_str().as_bytes(), &delay);
            }
            Change::Resting(key, None) => tx.delete(RESTING, key.as_str().as_bytes()),
            Change::Note(key, Some(note)) => {
                tx.put(NOTES, key.as_str().as_bytes(), note.as_str().as_bytes());
            }
            Change::Note(key, None) => tx.delete(NOTES, key.as_str().as_bytes()),
            Change::Session(id, Some(session)) => {
                tx.put(SESSIONS, &id.0.to_be_bytes(), &session_row(session));
            }
            Change::Session(id, None) => tx.delete(SESSIONS, &id.0.to_be_bytes()),
        }
    }
}

fn all<T>(
    disk: &Durable,
    table: &str,
    read: impl Fn(Row) -> Result<T, EmbeddedError>,
) -> Result<Vec<T>, EmbeddedError> {
    let rows = disk.scan(table, &Keys::all(), usize::MAX)?;
    rows.into_iter().map(read).collect()
}

fn request_key(key: &LockKey, request: &RequestId) -> Vec<u8> {
    let name = key.as_str().as_bytes();
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), name, request.as_str().as_bytes()].concat()
}

fn request_of(row: &[u8]) -> Result<(LockKey, RequestId), EmbeddedError> {
    let broken = || EmbeddedError::Row("a request at a lock has no such key".into());
    let (length, rest) = row.split_first_chunk().ok_or_else(broken)?;
    let (name, request) = rest
        .split_at_checked(usize::from(u16::from_be_bytes(*length)))
        .ok_or_else(broken)?;
    let request = String::from_utf8(request.to_vec()).map_err(|_| broken())?;
    let request = RequestId::try_from(request).map_err(|_| broken())?;
    Ok((lock_key(name)?, request))
}

fn lock_key(key: &[u8]) -> Result<LockKey, EmbeddedError> {
    let name = text(key.to_vec(), "the name of a lock")?;
    LockKey::parse_compat(name)
        .map_err(|err| EmbeddedError::Row(format!("the name of a lock {err}")))
}

fn number(row: &[u8], what: &str) -> Result<u64, EmbeddedError> {
    let bytes = row
        .try_into()
        .map_err(|_| EmbeddedError::Row(format!("{what} is not a number of 8 bytes")))?;
    Ok(u64::from_be_bytes(bytes))
}

fn text(row: Vec<u8>, what: &str) -> Result<String, EmbeddedError> {
    String::from_utf8(row).map_err(|_| EmbeddedError::Row(format!("{what} is not text")))
}
