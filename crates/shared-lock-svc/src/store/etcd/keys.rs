//! Where everything lies in etcd.
//!
//! `/shared-lock/<key>` is shared with replicas of tentens-tech/shared-lock and keeps the name as
//! it stands. All other key spaces are our own and hold the name as one segment, so that a prefix
//! over lock `a` never takes in lock `a/b`.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::lease::{LeaseId, LockKey, RequestId};

/// Start of the one range that covers the holder keys and all of ours.
pub(super) const RANGE_START: &str = "/shared-lock-";
/// End of that range: the character after `/`.
pub(super) const RANGE_END: &str = "/shared-lock0";
/// Names the life of this etcd: tokens compare only within one.
pub(super) const EPOCH: &str = "/shared-lock-epoch";

pub(super) const HOLDERS: &str = "/shared-lock/";
pub(super) const METAS: &str = "/shared-lock-meta/";
pub(super) const QUEUES: &str = "/shared-lock-queue/";
const GUARDS: &str = "/shared-lock-lease/";
const TOMBSTONES: &str = "/shared-lock-done/";
const ENDINGS: &str = "/shared-lock-ended/";
const REPLICAS: &str = "/shared-lock-replica/";

/// Names longer than this are hashed, so that etcd keys stay short.
const LONGEST_SPELT_OUT: usize = 64;

/// One path segment that stands for a lock name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Segment(String);

impl Segment {
    fn of(name: &[u8]) -> Self {
        if name.len() <= LONGEST_SPELT_OUT {
            Self(BASE64_URL_SAFE_NO_PAD.encode(name))
        } else {
            // No encoded name has a dot in it.
            Self(format!(
                "sha256.{}",
                BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(name))
            ))
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A lock and where its keys lie.
#[derive(Debug, Clone)]
pub(super) struct LockPath {
    pub(super) key: LockKey,
    pub(super) segment: Segment,
}

impl LockPath {
    pub(super) fn of(key: &LockKey) -> Self {
        Self {
            key: key.clone(),
            segment: Segment::of(key.as_str().as_bytes()),
        }
    }

    /// H: who holds the lock; written once per tenure.
    pub(super) fn holder(&self) -> String {
        format!("{HOLDERS}{}", self.key)
    }

    /// M: what is known of the tenure; put and deleted only together with H.
    pub(super) fn meta(&self) -> String {
        format!("{METAS}{}", self.segment)
    }

    /// Q*: all that wait.
    pub(super) fn queue(&self) -> String {
        format!("{QUEUES}{}/", self.segment)
    }

    /// Q: one that waits.
    pub(super) fn waiter(&self, request: &RequestId) -> String {
        format!("{QUEUES}{}/{request}", self.segment)
    }

    /// T: the request has ended.
    pub(super) fn tombstone(&self, request: &RequestId) -> String {
        format!("{TOMBSTONES}{}/{request}", self.segment)
    }

    /// The marker that tells a release from an expiry.
    pub(super) fn ending(&self) -> String {
        format!("{ENDINGS}{}", self.segment)
    }
}

/// G: the lease is alive.
pub(super) fn guard(lease: LeaseId) -> String {
    format!("{GUARDS}{lease}")
}

/// L: the replica is alive.
pub(super) fn replica(id: &str) -> String {
    format!("{REPLICAS}{id}")
}

/// What a key of the watched range is, as far as the local view cares.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Holder(Segment),
    Meta(Segment),
    Waiter(Segment, RequestId),
    Other,
}

impl Spot {
    pub(super) fn of(key: &[u8]) -> Self {
        if let Some(name) = key.strip_prefix(HOLDERS.as_bytes()) {
            return Self::Holder(Segment::of(name));
        }
        let Ok(key) = std::str::from_utf8(key) else {
            return Self::Other;
        };
        if let Some(segment) = key.strip_prefix(METAS) {
            return Self::Meta(Segment(segment.to_owned()));
        }
        let Some((segment, request)) = key
            .strip_prefix(QUEUES)
            .and_then(|rest| rest.split_once('/'))
        else {
            return Self::Other;
        };
        match RequestId::try_from(request.to_owned()) {
            Ok(request) => Self::Waiter(Segment(segment.to_owned()), request),
            Err(_) => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> LockPath {
        LockPath::of(&LockKey::parse_compat(name).unwrap())
    }

    #[test]
    fn a_lock_below_another_is_not_in_its_queue() {
        assert!(!path("a/b").queue().starts_with(&path("a").queue()));
    }

    #[test]
    fn a_spot_is_read_back_for_short_long_and_empty_names() {
        let request = RequestId::random();
        for name in [
            "",
            "a",
            "a/b",
            "ünï",
            &"x".repeat(64),
            &"x".repeat(65),
            &"y".repeat(1024),
        ] {
            let path = path(name);
            assert_eq!(
                Spot::of(path.holder().as_bytes()),
                Spot::Holder(path.segment.clone())
            );
            assert_eq!(
                Spot::of(path.meta().as_bytes()),
                Spot::Meta(path.segment.clone())
            );
            let waiter = Spot::of(path.waiter(&request).as_bytes());
            assert_eq!(waiter, Spot::Waiter(path.segment.clone(), request.clone()));
            assert_eq!(Spot::of(path.tombstone(&request).as_bytes()), Spot::Other);
        }
    }

    #[test]
    fn every_key_lies_in_the_watched_range() {
        let path = path("a");
        let request = RequestId::random();
        let keys = [
            path.holder(),
            path.meta(),
            path.queue(),
            path.waiter(&request),
            path.tombstone(&request),
        ];
        for key in keys.into_iter().chain([
            path.ending(),
            guard(LeaseId(7)),
            replica("r"),
            EPOCH.to_owned(),
        ]) {
            assert!(
                key.as_str() >= RANGE_START && key.as_str() < RANGE_END,
                "{key}"
            );
        }
    }
}
