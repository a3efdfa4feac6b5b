//! What callers get, where several calls give the same.

use std::{num::NonZeroU32, time::Duration};

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{call::Arrival, fields::Fields, openapi::ModeWord};
use crate::lease::{
    FencingToken, Holder, HolderView, LockKey, LockView, Metadata, Mode, Until, WaiterView,
};

/// How long a lease lives. A caller adds the last two up, so both are of one moment: what holds the
/// answer up after it is in neither.
#[derive(Serialize, ToSchema)]
#[schema(as = Life)]
pub(super) struct LifeBody {
    ttl_ms: u64,
    remaining_ms: u64,
    elapsed_ms: u64,
}

impl LifeBody {
    pub(super) fn new(ttl: Duration, until: Until, arrival: Arrival) -> Self {
        let now = Instant::now();
        Self {
            ttl_ms: millis(ttl),
            remaining_ms: millis(until.left_at(now)),
            elapsed_ms: millis(now.saturating_duration_since(arrival.0)),
        }
    }
}

/// How a lock is held or wanted.
#[derive(Serialize, ToSchema)]
#[schema(as = ModeAndSize)]
pub(super) struct ModeBody {
    #[schema(value_type = ModeWord)]
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, nullable = false)]
    limit: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, nullable = false)]
    weight: Option<NonZeroU32>,
}

impl From<Mode> for ModeBody {
    fn from(mode: Mode) -> Self {
        let (limit, weight) = match mode {
            Mode::Exclusive | Mode::Shared => (None, None),
            Mode::Permit { limit, weight } => (Some(limit), Some(weight)),
        };
        Self {
            mode: mode.as_str(),
            limit,
            weight,
        }
    }
}

/// The fields `mode`, `limit` and `weight`.
pub(super) fn read_mode(fields: &mut Fields) -> Option<Mode> {
    const MOST: u32 = 1_000_000;
    const SIZES: [&str; 2] = ["limit", "weight"];
    let permit = Mode::Permit {
        limit: NonZeroU32::MIN,
        weight: NonZeroU32::MIN,
    };
    let words = [Mode::Exclusive, Mode::Shared, permit].map(|mode| (mode.as_str(), mode));
    let mode = match fields.has("mode") {
        true => fields.word("mode", &words),
        false => fields.word("mode", &words).or(Some(Mode::default())),
    };
    let given = SIZES.map(|name| fields.has(name));
    let limit = fields.count("limit", 1..=MOST);
    let weight = fields.count("weight", 1..=limit.map_or(MOST, NonZeroU32::get));
    match mode? {
        Mode::Permit { weight: one, .. } => {
            if !given[0] {
                fields.refuse("limit", "is missing: a permit has one");
            }
            let limit = limit?;
            let weight = weight.unwrap_or(one);
            Some(Mode::Permit { limit, weight })
        }
        mode => {
            for (name, _) in SIZES.into_iter().zip(given).filter(|(_, given)| *given) {
                fields.refuse(name, "goes with the mode `permit` alone");
            }
            Some(mode)
        }
    }
}

/// A lock as everybody may see it.
#[derive(Serialize, ToSchema)]
#[schema(as = Lock)]
pub(super) struct LockBody {
    key: LockKey,
    holders: Vec<HolderBody>,
    waiters: Vec<WaiterBody>,
}

impl LockBody {
    pub(super) fn new(key: LockKey, lock: LockView, token_epoch: &str) -> Self {
        let holder = |holder| HolderBody::new(holder, token_epoch);
        Self {
            key,
            holders: lock.holders.into_iter().map(holder).collect(),
            waiters: lock.waiters.into_iter().map(WaiterBody::from).collect(),
        }
    }
}

/// A holder as everybody may see it.
#[derive(Serialize, ToSchema)]
#[schema(as = LockHolder)]
pub(super) struct HolderBody {
    #[schema(required)]
    holder: Option<Holder>,
    #[serde(flatten)]
    mode: ModeBody,
    fencing_token: FencingToken,
    token_epoch: String,
    #[schema(required)]
    held_ms: Option<u64>,
    #[schema(required)]
    ttl_ms: Option<u64>,
    #[schema(required)]
    remaining_ms: Option<u64>,
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: Metadata,
}

impl HolderBody {
    pub(super) fn new(holder: HolderView, token_epoch: &str) -> Self {
        Self {
            holder: holder.holder,
            mode: holder.mode.into(),
            fencing_token: holder.fencing_token,
            token_epoch: token_epoch.to_owned(),
            held_ms: holder.held_for.map(millis),
            ttl_ms: holder.ttl.map(millis),
            remaining_ms: holder.remaining.map(millis),
            metadata: holder.metadata,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = LockWaiter)]
struct WaiterBody {
    holder: Holder,
    #[serde(flatten)]
    mode: ModeBody,
    #[schema(required)]
    waiting_ms: Option<u64>,
}

impl From<WaiterView> for WaiterBody {
    fn from(waiter: WaiterView) -> Self {
        Self {
            holder: waiter.holder,
            mode: waiter.mode.into(),
            waiting_ms: waiter.waiting_for.map(millis),
        }
    }
}

/// Whole milliseconds, as the wire has them.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_holds_an_answer_up_is_not_taken_for_life() {
        let arrival = Arrival(Instant::now());
        let ttl = Duration::from_secs(5);
        let until = Until(Instant::now() + ttl);
        for (seconds, left) in [(0, 5), (2, 3), (8, 0)] {
            let body = LifeBody::new(ttl, until, arrival);
            let told = (body.ttl_ms, body.remaining_ms, body.elapsed_ms);
            assert_eq!(told, (5000, left * 1000, seconds * 1000));
            advance(Duration::from_secs(if seconds == 0 { 2 } else { 6 })).await;
        }
    }
}
