//! A lock as it lies in a register: JSON that a person may read with the register's own tools.
//!
//! No time in it decides anything. What runs out (a lease, a place in the queue, a rest) has a `beat`, a
//! random text that is another one each time its life begins anew; whoever has seen the same beat for
//! as long as that life, on a clock of its own, knows that it is over.

use std::{
    collections::{HashSet, VecDeque},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{RegisterError, sight::Sight};
use crate::{
    lease::{FencingToken, Holder, LeaseId, LockKey, Metadata, Mode, Note, RequestId},
    state::{Bounds, Ended, Grant, Lock, Moment, TOMBSTONE_LIFE, Waiter, Wish},
};

/// Number of this format; a document with another one is refused.
pub(super) const FORMAT: u32 = 1;

/// What a document remembers at most.
const BOUNDS: Bounds = Bounds {
    waiters: 64,
    ended: 128,
};

/// How many of the last writes a document names.
const RECENT: usize = 32;

/// What a step made of a lock.
pub(super) struct Stepped {
    /// The lock before it.
    pub(super) before: Lock,
    /// The lock after it.
    pub(super) after: Lock,
    /// Leases that were kept alive.
    pub(super) leases: HashSet<LeaseId>,
    /// Waiters that are still there.
    pub(super) requests: HashSet<RequestId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    format: u32,
    /// The lock's name.
    key: LockKey,
    /// The first holder, and until when at the writer's clock: for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<Holder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_about: Option<Timestamp>,
    /// Counts the writes. With the write's own name it makes every document another one, so that no
    /// two have one ETag.
    pub(super) seq: u64,
    /// The last writes, the present one last: whose answer was lost finds its write here.
    writes: VecDeque<String>,
    last_token: u64,
    holders: Vec<HolderEntry>,
    queue: Vec<WaiterEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rests: Option<Rest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Note>,
    ended: Vec<RequestId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HolderEntry {
    fencing_token: FencingToken,
    since: Timestamp,
    expires_about: Timestamp,
    beat: String,
    wish: WishEntry,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaiterEntry {
    since: Timestamp,
    /// How long it may be missed before it counts as gone.
    patience_ms: u64,
    beat: String,
    wish: WishEntry,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    delay_ms: u64,
    beat: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WishEntry {
    request_id: RequestId,
    holder: Holder,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata,
    mode: ModeEntry,
    lease_id: LeaseId,
    ttl_ms: u64,
    lock_delay_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum ModeEntry {
    Exclusive,
    Shared,
    Permit {
        limit: NonZeroU32,
        weight: NonZeroU32,
    },
}

impl Document {
    /// The document of a lock that nobody has written yet.
    pub(super) fn new(key: LockKey) -> Self {
        Self {
            format: FORMAT,
            key,
            held_by: None,
            expires_about: None,
            seq: 0,
            writes: VecDeque::new(),
            last_token: 0,
            holders: Vec::new(),
            queue: Vec::new(),
            rests: None,
            note: None,
            ended: Vec::new(),
        }
    }

    /// # Errors
    /// It is not one of ours, or of another format or lock.
    pub(super) fn parse(key: &LockKey, value: Value) -> Result<Self, RegisterError> {
        let format = value["format"].clone();
        if format != FORMAT {
            return Err(RegisterError::Refused(format!(
                "the document of a lock has format {format}, and this build knows {FORMAT}"
            )));
        }
        let document: Self = serde_json::from_value(value).map_err(|err| {
            RegisterError::Refused(format!(
                "the document of a lock cannot be understood: {err}"
            ))
        })?;
        if document.key != *key {
            let other = "the document of a lock is that of another one";
            return Err(RegisterError::Refused(other.to_owned()));
        }
        Ok(document)
    }

    /// # Errors
    /// It cannot be written as JSON, which does not happen.
    pub(super) fn to_value(&self) -> Result<Value, RegisterError> {
        serde_json::to_value(self).map_err(|err| RegisterError::Refused(err.to_string()))
    }

    /// Whether the write of that name is in it, and has not been forgotten.
    pub(super) fn holds_write(&self, name: &str) -> bool {
        self.writes.iter().any(|write| write == name)
    }

    /// Whether a write that made it the `seq`th may be in it and not named any more.
    pub(super) fn forgets(&self, seq: u64) -> bool {
        self.seq.saturating_sub(seq) >= self.writes.len() as u64 && self.seq >= seq
    }

    /// Every beat in it.
    pub(super) fn beats(&self) -> impl Iterator<Item = &str> {
        let holders = self.holders.iter().map(|holder| &*holder.beat);
        let queue = self.queue.iter().map(|waiter| &*waiter.beat);
        let rests = self.rests.iter().map(|rest| &*rest.beat);
        holders.chain(queue).chain(rests)
    }

    /// The lock, with everything running out as long after it was seen first as its life is.
    pub(super) fn to_lock(&self, sight: &Sight, now: Moment) -> Lock {
        let mut ended = Ended::default();
        for request in &self.ended {
            let until = now + TOMBSTONE_LIFE;
            ended
                .remember(request.clone(), until, BOUNDS.ended)
                .for_each(drop);
        }
        Lock {
            last_token: self.last_token,
            grants: self
                .holders
                .iter()
                .map(|holder| holder.to_grant(sight, now))
                .collect(),
            queue: self
                .queue
                .iter()
                .map(|waiter| waiter.to_waiter(sight, now))
                .collect(),
            rests_until: self
                .rests
                .as_ref()
                .map(|rest| sight.end_of(&rest.beat, Duration::from_millis(rest.delay_ms), now)),
            note: self.note.clone(),
            ended,
            bounds: BOUNDS,
        }
    }

    /// The document as a step leaves it: what got a new life in it gets a new beat.
    pub(super) fn after(&self, stepped: &Stepped, write: String, now: Moment) -> Self {
        let (before, after) = (&stepped.before, &stepped.after);
        let holders = after.grants.iter().map(|grant| {
            let same = |old: &&HolderEntry| old.fencing_token == grant.token;
            let renewed = stepped.leases.contains(&grant.wish.lease_id);
            match self.holders.iter().find(same).filter(|_| !renewed) {
                Some(entry) => entry.clone(),
                None => HolderEntry::of(grant, now),
            }
        });
        let queue = after.queue.iter().map(|waiter| {
            let request = &waiter.wish.request_id;
            let same = |old: &&WaiterEntry| old.wish.request_id == *request;
            let renewed = stepped.requests.contains(request);
            match self.queue.iter().find(same).filter(|_| !renewed) {
                Some(entry) => entry.clone(),
                None => WaiterEntry::of(waiter, now),
            }
        });
        let holders: Vec<_> = holders.collect();
        let mut writes = self.writes.clone();
        writes.push_back(write);
        writes.drain(..writes.len().saturating_sub(RECENT));
        Self {
            format: FORMAT,
            key: self.key.clone(),
            held_by: after.grants.first().map(|grant| grant.wish.holder.clone()),
            expires_about: holders.first().map(|holder| holder.expires_about),
            seq: self.seq + 1,
            writes,
            last_token: after.last_token,
            queue: queue.collect(),
            rests: match (after.rests_until, before.rests_until == after.rests_until) {
                (Some(_), true) => self.rests.clone(),
                (Some(until), false) => Some(Rest {
                    delay_ms: millis(until.since(now)),
                    beat: fresh(),
                }),
                (None, _) => None,
            },
            note: after.note.clone(),
            ended: after.ended.iter().cloned().collect(),
            holders,
        }
    }
}

impl HolderEntry {
    fn of(grant: &Grant, now: Moment) -> Self {
        Self {
            fencing_token: grant.token,
            since: wall_clock(grant.since),
            expires_about: later(wall_clock(now), grant.wish.ttl),
            beat: fresh(),
            wish: WishEntry::of(&grant.wish),
        }
    }

    fn to_grant(&self, sight: &Sight, now: Moment) -> Grant {
        let wish = self.wish.to_wish();
        let life = Sight::with_margin(wish.ttl);
        Grant {
            wish: Arc::new(wish),
            token: self.fencing_token,
            since: moment(self.since),
            until: Some(sight.end_of(&self.beat, life, now)),
        }
    }
}

impl WaiterEntry {
    fn of(waiter: &Waiter, now: Moment) -> Self {
        Self {
            since: wall_clock(waiter.since),
            patience_ms: millis(waiter.until.since(now)),
            beat: fresh(),
            wish: WishEntry::of(&waiter.wish),
        }
    }

    fn to_waiter(&self, sight: &Sight, now: Moment) -> Waiter {
        let patience = Duration::from_millis(self.patience_ms);
        Waiter {
            wish: Arc::new(self.wish.to_wish()),
            since: moment(self.since),
            until: sight.end_of(&self.beat, patience, now),
        }
    }
}

impl WishEntry {
    fn of(wish: &Wish) -> Self {
        Self {
            request_id: wish.request_id.clone(),
            holder: wish.holder.clone(),
            metadata: wish.metadata.clone(),
            mode: match wish.mode {
                Mode::Exclusive => ModeEntry::Exclusive,
                Mode::Shared => ModeEntry::Shared,
                Mode::Permit { limit, weight } => ModeEntry::Permit { limit, weight },
            },
            lease_id: wish.lease_id,
            ttl_ms: millis(wish.ttl),
            lock_delay_ms: millis(wish.lock_delay),
            trace_id: wish.trace_id.clone(),
        }
    }

    fn to_wish(&self) -> Wish {
        Wish {
            request_id: self.request_id.clone(),
            holder: self.holder.clone(),
            metadata: self.metadata.clone(),
            mode: match self.mode {
                ModeEntry::Exclusive => Mode::Exclusive,
                ModeEntry::Shared => Mode::Shared,
                ModeEntry::Permit { limit, weight } => Mode::Permit { limit, weight },
            },
            lease_id: self.lease_id,
            ttl: Duration::from_millis(self.ttl_ms),
            in_session: false,
            lock_delay: Duration::from_millis(self.lock_delay_ms),
            trace_id: self.trace_id.clone(),
        }
    }
}

/// A name that nobody has given to anything else.
pub(super) fn fresh() -> String {
    Uuid::new_v4().simple().to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn wall_clock(moment: Moment) -> Timestamp {
    let micros = i64::try_from(moment.0.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

fn moment(timestamp: Timestamp) -> Moment {
    let micros = u64::try_from(timestamp.as_microsecond()).unwrap_or_default();
    Moment(Duration::from_micros(micros))
}

fn later(wall: Timestamp, life: Duration) -> Timestamp {
    wall.checked_add(life).unwrap_or(Timestamp::MAX)
}
