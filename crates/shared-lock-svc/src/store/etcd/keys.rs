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
pub(super) const HOLDS: &str = "/shared-lock-hold/";
pub(super) const QUEUES: &str = "/shared-lock-queue/";
pub(super) const GUARDS: &str = "/shared-lock-lease/";
const TOMBSTONES: &str = "/shared-lock-done/";
pub(super) const ENDINGS: &str = "/shared-lock-ended/";
const NOTES: &str = "/shared-lock-note/";
pub(super) const REPLICAS: &str = "/shared-lock-replica/";

/// What a lock is held by beside H, in the order of the keys: permits, the lock-delay, readers. So
/// one range takes in the delay with either neighbour.
const PERMITS: &str = "p/";
const DELAY: &str = "r";
const READERS: &str = "s/";

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

    /// S*, P* and D: whatever else keeps a lock from being held by one alone.
    pub(super) fn others(&self) -> String {
        format!("{HOLDS}{}/", self.segment)
    }

    /// The end of that range.
    pub(super) fn others_end(&self) -> String {
        format!("{HOLDS}{}0", self.segment)
    }

    /// S*: all readers.
    pub(super) fn readers(&self) -> String {
        format!("{HOLDS}{}/{READERS}", self.segment)
    }

    /// S: one reader.
    pub(super) fn reader(&self, request: &RequestId) -> String {
        format!("{HOLDS}{}/{READERS}{request}", self.segment)
    }

    /// P*: all permits.
    pub(super) fn permits(&self) -> String {
        format!("{HOLDS}{}/{PERMITS}", self.segment)
    }

    /// P: one permit.
    pub(super) fn permit(&self, request: &RequestId) -> String {
        format!("{HOLDS}{}/{PERMITS}{request}", self.segment)
    }

    /// D: nobody gets the lock for a while after its holder's lease ran out.
    pub(super) fn delay(&self) -> String {
        format!("{HOLDS}{}/{DELAY}", self.segment)
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
        format!("{}{}", tombstones(request), self.segment)
    }

    /// The marker that says how tenures ended: of those that expired it says nothing.
    pub(super) fn ending(&self) -> String {
        format!("{ENDINGS}{}", self.segment)
    }

    /// What the last holder wrote for the next; on no lease.
    pub(super) fn note(&self) -> String {
        format!("{NOTES}{}", self.segment)
    }
}

/// The name of the lock that a holder key is of; a plain etcd client may have made one that is none.
pub(super) fn name_of_holder(key: &[u8]) -> Option<LockKey> {
    let name = key.strip_prefix(HOLDERS.as_bytes())?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    LockKey::parse_compat(name).ok()
}

/// T of a request at all locks that it named.
pub(super) fn tombstones(request: &RequestId) -> String {
    format!("{TOMBSTONES}{request}/")
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
    Reader(Segment, RequestId),
    Permit(Segment, RequestId),
    Delay(Segment),
    Waiter(Segment, RequestId),
    Guard(LeaseId),
    Ending(Segment),
    Replica(String),
    Other,
}

impl Spot {
    pub(super) fn of(key: &[u8]) -> Self {
        if let Some(name) = key.strip_prefix(HOLDERS.as_bytes()) {
            return Self::Holder(Segment::of(name));
        }
        let ours = std::str::from_utf8(key).ok().and_then(Self::of_ours);
        ours.unwrap_or(Self::Other)
    }

    /// The lock that it is of.
    pub(super) fn segment(&self) -> Option<&Segment> {
        match self {
            Self::Holder(segment)
            | Self::Meta(segment)
            | Self::Delay(segment)
            | Self::Reader(segment, _)
            | Self::Permit(segment, _)
            | Self::Waiter(segment, _) => Some(segment),
            Self::Guard(_) | Self::Ending(_) | Self::Replica(_) | Self::Other => None,
        }
    }

    fn of_ours(key: &str) -> Option<Self> {
        let request = |text: &str| RequestId::try_from(text.to_owned()).ok();
        if let Some(segment) = key.strip_prefix(METAS) {
            return Some(Self::Meta(Segment(segment.to_owned())));
        }
        if let Some(lease) = key.strip_prefix(GUARDS) {
            return lease.parse().ok().map(Self::Guard);
        }
        if let Some(segment) = key.strip_prefix(ENDINGS) {
            return Some(Self::Ending(Segment(segment.to_owned())));
        }
        if let Some(id) = key.strip_prefix(REPLICAS) {
            return Some(Self::Replica(id.to_owned()));
        }
        if let Some(rest) = key.strip_prefix(QUEUES) {
            let (segment, waiter) = rest.split_once('/')?;
            return Some(Self::Waiter(Segment(segment.to_owned()), request(waiter)?));
        }
        let (segment, hold) = key.strip_prefix(HOLDS)?.split_once('/')?;
        let segment = Segment(segment.to_owned());
        if hold == DELAY {
            return Some(Self::Delay(segment));
        }
        match hold.strip_prefix(READERS) {
            Some(reader) => Some(Self::Reader(segment, request(reader)?)),
            None => Some(Self::Permit(segment, request(hold.strip_prefix(PERMITS)?)?)),
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
            let reader = Spot::of(path.reader(&request).as_bytes());
            assert_eq!(reader, Spot::Reader(path.segment.clone(), request.clone()));
            let permit = Spot::of(path.permit(&request).as_bytes());
            assert_eq!(permit, Spot::Permit(path.segment.clone(), request.clone()));
            let delay = Spot::of(path.delay().as_bytes());
            assert_eq!(delay, Spot::Delay(path.segment.clone()));
            assert_eq!(Spot::of(path.tombstone(&request).as_bytes()), Spot::Other);
        }
    }

    #[test]
    fn a_lease_is_read_back_from_its_guard() {
        assert_eq!(
            Spot::of(guard(LeaseId(7)).as_bytes()),
            Spot::Guard(LeaseId(7))
        );
        assert_eq!(Spot::of(b"/shared-lock-lease/x"), Spot::Other);
    }

    #[test]
    fn a_lock_delay_lies_between_permits_and_readers() {
        let (path, request) = (path("a"), RequestId::random());
        let (permit, delay, reader) = (path.permit(&request), path.delay(), path.reader(&request));
        assert!(path.permits() < permit && permit < delay);
        assert!(delay < path.readers() && path.readers() < reader);
        assert!(
            [permit, delay, reader]
                .iter()
                .all(|key| key.starts_with(&path.others()))
        );
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
            path.reader(&request),
            path.permit(&request),
            path.delay(),
            path.note(),
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
