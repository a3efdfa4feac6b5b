//! A prefix, and callers who want numbers of it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::{
    allocator::{Want, cycle::Job},
    documents::{Facts, Fence, KeyHash, Owner},
    hostname::Prefix,
};

pub(crate) fn prefix() -> Prefix {
    Prefix::new(
        "splunk".to_owned().try_into().unwrap(),
        "web".to_owned().try_into().unwrap(),
        "dev".to_owned().try_into().unwrap(),
    )
    .unwrap()
}

pub(crate) fn fence(token: u64) -> Fence {
    Fence {
        token,
        epoch: "epoch".to_owned(),
    }
}

/// Names that begin with `keyless` stand for callers without an idempotency key.
pub(crate) fn owner(name: &str) -> Owner {
    match name.starts_with("keyless") {
        true => Owner::Request(name.to_owned()),
        false => Owner::Key(KeyHash::new("", name)),
    }
}

pub(crate) fn job(id: u64, name: &str, count: usize) -> Job {
    let want = match count {
        1 => Want::One,
        _ => Want::Count(count),
    };
    job_for(id, name, want)
}

pub(crate) fn job_for(id: u64, name: &str, want: Want) -> Job {
    Job {
        id,
        owner: owner(name),
        body_hash: format!("body of {name}"),
        want,
        policy: Arc::default(),
        facts: Facts {
            request_id: format!("request of {name}"),
            created_at: Timestamp::UNIX_EPOCH.into(),
            instance: "test".to_owned(),
            requested_by: None,
            reason: None,
            labels: BTreeMap::new(),
        },
    }
}
