//! What the keys of our own hold: JSON with a format number.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{fault::Fault, keys::LockPath};
use crate::lease::{AcquireRequest, Holder, LeaseId, LockKey, Metadata, RequestId};

/// Raised when an older replica must not touch what a newer one wrote.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Numbered<T> {
    format: u32,
    #[serde(flatten)]
    body: T,
}

/// How a lock is held. Later modes are unknown to this version, which then keeps its hands off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    Exclusive,
}

/// M: the tenure beside the holder key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The request that got the lock.
    pub(super) request: RequestId,
    /// The replica that request lives at.
    pub(super) replica: String,
    pub(super) mode: Mode,
    pub(super) holder: Holder,
    pub(super) metadata: Metadata,
    /// The life granted.
    pub(super) ttl_ms: u64,
    /// When the lock was granted, by the clock of the replica that proposed it: for people only.
    pub(super) since_ms: u64,
}

/// Q: a request that waits. Whoever hands over or promotes writes the holder key from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiter {
    /// The lock, since its segment may be a hash.
    pub(super) key: LockKey,
    /// The replica the request lives at.
    pub(super) replica: String,
    /// The lease that will hold the lock.
    pub(super) lease: LeaseId,
    pub(super) mode: Mode,
    pub(super) holder: Holder,
    pub(super) metadata: Metadata,
    /// Bytes of the holder key to come.
    pub(super) value: String,
    /// The life granted to the lease.
    pub(super) ttl_ms: u64,
    /// When it began to wait: for people only.
    pub(super) since_ms: u64,
}

impl Meta {
    /// The tenure of a request that found the lock free.
    pub(super) fn of(request: &AcquireRequest, replica: &str, ttl: Duration) -> Self {
        Self {
            request: request.request_id.clone(),
            replica: replica.to_owned(),
            mode: Mode::Exclusive,
            holder: request.holder.clone(),
            metadata: request.metadata.clone(),
            ttl_ms: millis(ttl),
            since_ms: now_ms(),
        }
    }

    /// The tenure of a waiter that gets the lock now.
    pub(super) fn of_waiter(request: &RequestId, waiter: &Waiter) -> Self {
        Self {
            request: request.clone(),
            replica: waiter.replica.clone(),
            mode: waiter.mode,
            holder: waiter.holder.clone(),
            metadata: waiter.metadata.clone(),
            ttl_ms: waiter.ttl_ms,
            since_ms: now_ms(),
        }
    }
}

impl Waiter {
    /// The entry of a request that stands in the queue from now on.
    pub(super) fn of(
        request: &AcquireRequest,
        replica: &str,
        lease: LeaseId,
        ttl: Duration,
    ) -> Self {
        Self {
            key: request.key.clone(),
            replica: replica.to_owned(),
            lease,
            mode: Mode::Exclusive,
            holder: request.holder.clone(),
            metadata: request.metadata.clone(),
            value: request.value.clone(),
            ttl_ms: millis(ttl),
            since_ms: now_ms(),
        }
    }

    pub(super) fn path(&self) -> LockPath {
        LockPath::of(&self.key)
    }
}

/// The marker that a release leaves, so that an expiry can be told from it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) cause: Cause,
    pub(super) token: i64,
}

/// Why a tenure ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Cause {
    Released,
}

/// The bytes of a record.
pub(super) fn encode<T: Serialize>(body: T) -> Vec<u8> {
    serde_json::to_vec(&Numbered {
        format: FORMAT,
        body,
    })
    .unwrap_or_default()
}

/// A record from its bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let unreadable = |err| Fault::Refused(format!("a record in etcd cannot be read: {err}"));
    match serde_json::from_slice(bytes).map_err(unreadable)? {
        Format { format: FORMAT } => serde_json::from_slice::<Numbered<T>>(bytes)
            .map(|numbered| numbered.body)
            .map_err(unreadable),
        Format { format } => Err(Fault::Refused(format!(
            "a record in etcd has format {format}, this version knows {FORMAT}"
        ))),
    }
}

/// How long ago a replica's clock showed `since_ms`; never negative.
pub(super) fn ago(since_ms: u64) -> Duration {
    Duration::from_millis(now_ms().saturating_sub(since_ms))
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(millis)
        .unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            request: RequestId::random(),
            replica: "r1".into(),
            mode: Mode::Exclusive,
            holder: Holder::try_from("h".to_owned()).unwrap(),
            metadata: [("a".to_owned(), "b".to_owned())].into(),
            ttl_ms: 2_000,
            since_ms: 1,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let meta = meta();
        assert_eq!(decode::<Meta>(&encode(&meta)).unwrap(), meta);
    }

    #[test]
    fn a_record_of_another_format_is_refused_by_number() {
        let bytes = String::from_utf8(encode(meta()))
            .unwrap()
            .replace("\"format\":1", "\"format\":2");
        let refused = decode::<Meta>(bytes.as_bytes()).unwrap_err();
        assert!(refused.to_string().contains("format 2"), "{refused}");
    }

    #[test]
    fn a_mode_of_a_later_version_is_refused() {
        let bytes = String::from_utf8(encode(meta()))
            .unwrap()
            .replace("exclusive", "permit");
        decode::<Meta>(bytes.as_bytes()).unwrap_err();
    }
}
