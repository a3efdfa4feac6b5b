//! The rows on the disk.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `epoch` | names the life of this store |
//! | `meta` | `last_token` | the largest token ever granted, 8 bytes, big-endian |
//! | `grants` | the lock's name | who holds it, JSON |
//! | `ended` | length of the lock's name (2 bytes, big-endian), the name, the request id | nothing |

use std::time::Duration;

use durable::{Durable, Keys, Transaction, WriteError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::EmbeddedError;
use crate::{
    lease::{FencingToken, Holder, LeaseId, LockKey, Metadata, RequestId},
    state::{Change, Grant, Moment, Saved, Wish},
};

/// Number of this format; a store with another one is refused.
pub(super) const FORMAT: u32 = 1;

const META: &str = "meta";
const EPOCH: &[u8] = b"epoch";
const LAST_TOKEN: &[u8] = b"last_token";
const GRANTS: &str = "grants";
const ENDED: &str = "ended";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantRow {
    request_id: RequestId,
    holder: Holder,
    metadata: Metadata,
    lease_id: LeaseId,
    fencing_token: FencingToken,
    ttl_ms: u64,
    /// Wall clock, for people: no decision rests on it.
    since_unix_ms: u64,
}

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
    String::from_utf8(stored).map_err(|_| EmbeddedError::Row("the epoch is not text".into()))
}

/// What the last process left.
pub(super) fn load(disk: &Durable) -> Result<Saved, EmbeddedError> {
    let mut saved = Saved::default();
    if let Some(row) = disk.get(META, LAST_TOKEN)? {
        let bytes = row
            .try_into()
            .map_err(|_| EmbeddedError::Row("the last token is not a number of 8 bytes".into()))?;
        saved.last_token = u64::from_be_bytes(bytes);
    }
    for (key, row) in disk.scan(GRANTS, &Keys::all(), usize::MAX)? {
        saved.grants.push(grant_of(&key, &row)?);
    }
    for (key, _) in disk.scan(ENDED, &Keys::all(), usize::MAX)? {
        saved.ended.push(ended_of(&key)?);
    }
    Ok(saved)
}

/// Writes what steps have changed, in their order.
pub(super) fn write(tx: &mut Transaction<'_>, changes: &[Change], last_token: u64) {
    for change in changes {
        match change {
            Change::Grant(key, Some(grant)) => {
                tx.put(GRANTS, key.as_str().as_bytes(), &grant_row(grant));
                tx.put(META, LAST_TOKEN, &last_token.to_be_bytes());
            }
            Change::Grant(key, None) => tx.delete(GRANTS, key.as_str().as_bytes()),
            Change::Ended(key, request) => tx.put(ENDED, &ended_key(key, request), &[]),
            Change::Forgotten(key, request) => tx.delete(ENDED, &ended_key(key, request)),
        }
    }
}

fn grant_row(grant: &Grant) -> Vec<u8> {
    let row = GrantRow {
        request_id: grant.wish.request_id.clone(),
        holder: grant.wish.holder.clone(),
        metadata: grant.wish.metadata.clone(),
        lease_id: grant.wish.lease_id,
        fencing_token: grant.token,
        ttl_ms: millis(grant.wish.ttl),
        since_unix_ms: millis(grant.since.0),
    };
    serde_json::json!(row).to_string().into_bytes()
}

fn grant_of(key: &[u8], row: &[u8]) -> Result<(LockKey, Grant), EmbeddedError> {
    let row: GrantRow =
        serde_json::from_slice(row).map_err(|err| EmbeddedError::Row(err.to_string()))?;
    let ttl = Duration::from_millis(row.ttl_ms);
    let since = Moment(Duration::from_millis(row.since_unix_ms));
    let wish = Wish {
        request_id: row.request_id,
        holder: row.holder,
        metadata: row.metadata,
        lease_id: row.lease_id,
        ttl,
    };
    let grant = Grant {
        wish,
        token: row.fencing_token,
        since,
        until: since + ttl,
    };
    Ok((lock_key(key)?, grant))
}

fn ended_key(key: &LockKey, request: &RequestId) -> Vec<u8> {
    let name = key.as_str().as_bytes();
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), name, request.as_str().as_bytes()].concat()
}

fn ended_of(row: &[u8]) -> Result<(LockKey, RequestId), EmbeddedError> {
    let broken = || EmbeddedError::Row("an ended request has no such key".into());
    let (length, rest) = row.split_first_chunk().ok_or_else(broken)?;
    let (name, request) = rest
        .split_at_checked(usize::from(u16::from_be_bytes(*length)))
        .ok_or_else(broken)?;
    let request = String::from_utf8(request.to_vec()).map_err(|_| broken())?;
    let request = RequestId::try_from(request).map_err(|_| broken())?;
    Ok((lock_key(name)?, request))
}

fn lock_key(key: &[u8]) -> Result<LockKey, EmbeddedError> {
    let broken = || EmbeddedError::Row("the name of a lock is not text".into());
    let name = std::str::from_utf8(key).map_err(|_| broken())?;
    LockKey::parse_compat(name).map_err(|_| broken())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
