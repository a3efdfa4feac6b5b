//! The values that are JSON.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    lease::{FencingToken, Holder, LeaseId, Metadata, Mode, RequestId},
    state::{Grant, Moment, Session, Wish},
    store::embedded::EmbeddedError,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantRow {
    holder: Holder,
    metadata: Metadata,
    mode: ModeRow,
    lease_id: LeaseId,
    in_session: bool,
    fencing_token: FencingToken,
    ttl_ms: u64,
    lock_delay_ms: u64,
    trace_id: Option<String>,
    /// Wall clock, for people: no decision rests on it.
    since_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum ModeRow {
    Exclusive,
    Shared,
    Permit {
        limit: NonZeroU32,
        weight: NonZeroU32,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionRow {
    holder: Holder,
    ttl_ms: u64,
}

pub(super) fn grant_row(grant: &Grant) -> Vec<u8> {
    let wish = &grant.wish;
    let row = GrantRow {
        holder: wish.holder.clone(),
        metadata: wish.metadata.clone(),
        mode: match wish.mode {
            Mode::Exclusive => ModeRow::Exclusive,
            Mode::Shared => ModeRow::Shared,
            Mode::Permit { limit, weight } => ModeRow::Permit { limit, weight },
        },
        lease_id: wish.lease_id,
        in_session: wish.in_session,
        fencing_token: grant.token,
        ttl_ms: millis(wish.ttl),
        lock_delay_ms: millis(wish.lock_delay),
        trace_id: wish.trace_id.clone(),
        since_unix_ms: millis(grant.since.0),
    };
    serde_json::json!(row).to_string().into_bytes()
}

/// Without an end: a restart gives it its full life again.
pub(super) fn grant_of(request_id: RequestId, row: &[u8]) -> Result<Grant, EmbeddedError> {
    let row: GrantRow = parse(row)?;
    let wish = Wish {
        request_id,
        holder: row.holder,
        metadata: row.metadata,
        mode: match row.mode {
            ModeRow::Exclusive => Mode::Exclusive,
            ModeRow::Shared => Mode::Shared,
            ModeRow::Permit { limit, weight } => Mode::Permit { limit, weight },
        },
        lease_id: row.lease_id,
        ttl: Duration::from_millis(row.ttl_ms),
        in_session: row.in_session,
        lock_delay: Duration::from_millis(row.lock_delay_ms),
        trace_id: row.trace_id,
    };
    Ok(Grant {
        wish: Arc::new(wish),
        token: row.fencing_token,
        since: Moment(Duration::from_millis(row.since_unix_ms)),
        until: None,
    })
}

pub(super) fn session_row(session: &Session) -> Vec<u8> {
    let row = SessionRow {
        holder: session.holder.clone(),
        ttl_ms: millis(session.ttl),
    };
    serde_json::json!(row).to_string().into_bytes()
}

/// At its end: a restart gives it its full life again.
pub(super) fn session_of(row: &[u8]) -> Result<Session, EmbeddedError> {
    let SessionRow { holder, ttl_ms } = parse(row)?;
    Ok(Session {
        holder,
        ttl: Duration::from_millis(ttl_ms),
        until: Moment::default(),
    })
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn parse<T: DeserializeOwned>(row: &[u8]) -> Result<T, EmbeddedError> {
    serde_json::from_slice(row).map_err(|err| EmbeddedError::Row(err.to_string()))
}
