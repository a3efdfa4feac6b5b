//! What the keys of our own hold: JSON with a format number.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{fault::Fault, keys::LockPath};
use crate::lease::{Holder, LeaseId, LockKey, Metadata, Mode, RequestId};

/// Raised when an older replica must not touch what a newer one wrote: format 1 knew exclusive
/// locks only.
const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Numbered<T> {
    format: u32,
    #[serde(flatten)]
    body: T,
}

/// How a mode is written. A mode of a later version is unknown to this one, which then keeps its
/// hands off.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Mode", tag = "mode", rename_all = "kebab-case")]
enum ModeRecord {
    Exclusive,
    Shared,
    Permit {
        limit: NonZeroU32,
        weight: NonZeroU32,
    },
}

/// M, and the value of S and P: what is known of a tenure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The lock, since its segment may be a hash.
    pub(super) key: LockKey,
    /// The request that got the lock.
    pub(super) request: RequestId,
    /// The replica that request lives at.
    pub(super) replica: String,
    #[serde(flatten, with = "ModeRecord")]
    pub(super) mode: Mode,
    #[serde(flatten)]
    pub(super) leases: Leases,
    pub(super) holder: Holder,
    pub(super) metadata: Metadata,
    /// The trace of the call that asked for the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<String>,
    /// The life granted.
    pub(super) ttl_ms: u64,
    /// Its place among those that one transaction granted.
    #[serde(default)]
    pub(super) nth: usize,
    /// When the lock was granted, by the clock of the replica that proposed it: for people only.
    pub(super) since_ms: u64,
}

/// Q: a request that waits. Whoever hands over or promotes writes the tenure from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiter {
    /// Bytes of the holder key to come.
    pub(super) value: String,
    /// The tenure to come; its `since_ms` says when it began to wait.
    #[serde(flatten)]
    pub(super) meta: Meta,
}

/// What a tenure hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leases {
    /// The one that is its life.
    pub(super) lease: LeaseId,
    /// Whether that one is a session, which carries other tenures too and is never ours to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) session: bool,
    /// The one that its lock-delay hangs on, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delay_lease: Option<LeaseId>,
}

impl Leases {
    /// All leases that a grant puts keys on.
    pub(super) fn all(self) -> impl Iterator<Item = LeaseId> {
        [Some(self.lease), self.delay_lease].into_iter().flatten()
    }

    /// Those that end with the tenure.
    pub(super) fn own(self) -> impl Iterator<Item = LeaseId> {
        self.all()
            .filter(move |lease| !self.session || *lease != self.lease)
    }
}

impl Meta {
    pub(super) fn path(&self) -> LockPath {
        LockPath::of(&self.key)
    }

    /// The same from now on, as the `nth` that is granted.
    pub(super) fn beginning_now(&self, nth: usize) -> Self {
        Self {
            nth,
            since_ms: now_ms(),
            ..self.clone()
        }
    }
}

/// G of a session. That of a waiter's own lease is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub(super) holder: Holder,
    /// The life granted.
    pub(super) ttl_ms: u64,
}

/// D: which tenure it is of.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Delay {
    /// The lease of that tenure, which D's own lease is kept alive with.
    pub(super) of: LeaseId,
}

/// The marker beside whatever ends tenures, so that an expiry can be told from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) cause: Cause,
    /// The tenures that ended: one, but for a release by force.
    pub(super) tenures: Vec<Ended>,
    /// The trace of the call that ended them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<String>,
    /// Why, in an administrator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// A tenure that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) token: i64,
    #[serde(flatten, with = "ModeRecord")]
    pub(super) mode: Mode,
    /// Whose it was; unknown of a key that a plain etcd client put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) holder: Option<Holder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<RequestId>,
}

/// Why a tenure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Cause {
    /// Its holder gave it back.
    Released,
    /// Its request was ended by its id.
    Ended,
    /// Nobody was told of it: whoever asked had left, or its answer came too late.
    Abandoned,
    /// Its session was ended.
    SessionEnded,
    /// An administrator ended it.
    Forced,
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

pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(millis)
        .unwrap_or_default()
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(mode: Mode) -> Meta {
        Meta {
            key: LockKey::parse("k").unwrap(),
            request: RequestId::random(),
            replica: "r1".into(),
            mode,
            leases: Leases {
                lease: LeaseId(i64::MAX),
                session: true,
                delay_lease: Some(LeaseId(7)),
            },
            holder: Holder::try_from("h".to_owned()).unwrap(),
            metadata: [("a".to_owned(), "b".to_owned())].into(),
            trace_id: Some("t".into()),
            ttl_ms: 2_000,
            nth: 0,
            since_ms: 1,
        }
    }

    fn permit(limit: u32, weight: u32) -> Mode {
        Mode::Permit {
            limit: limit.try_into().unwrap(),
            weight: weight.try_into().unwrap(),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        for mode in [Mode::Exclusive, Mode::Shared, permit(3, 2)] {
            let meta = meta(mode);
            assert_eq!(decode::<Meta>(&encode(&meta)).unwrap(), meta);
            let waiter = Waiter {
                value: "v".into(),
                meta,
            };
            assert_eq!(decode::<Waiter>(&encode(&waiter)).unwrap(), waiter);
        }
    }

    #[test]
    fn a_record_of_another_format_is_refused_by_number() {
        for format in [1, 3] {
            let bytes = String::from_utf8(encode(meta(Mode::Exclusive)))
                .unwrap()
                .replace("\"format\":2", &format!("\"format\":{format}"));
            let refused = decode::<Meta>(bytes.as_bytes()).unwrap_err();
            let named = format!("format {format}");
            assert!(refused.to_string().contains(&named), "{refused}");
        }
    }

    #[test]
    fn a_mode_of_a_later_version_is_refused() {
        let bytes = String::from_utf8(encode(meta(Mode::Exclusive)))
            .unwrap()
            .replace("exclusive", "upgradable");
        decode::<Meta>(bytes.as_bytes()).unwrap_err();
    }

    #[test]
    fn a_session_does_not_end_with_its_tenure() {
        let of_session = meta(Mode::Exclusive).leases;
        assert_eq!(of_session.own().collect::<Vec<_>>(), [LeaseId(7)]);
        let own = Leases {
            session: false,
            ..of_session
        };
        assert_eq!(own.own().count(), 2);
    }
}
