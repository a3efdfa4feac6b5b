//! The prefixes that have a counter, and how far each has come.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    HostnameError,
    listing::{Filter, Prefixes},
};
use crate::{
    allocator::{AllocateError, read},
    documents::{CounterDocument, layout},
    hostname::Prefix,
    store::{DocumentStore, Read},
};

/// A prefix and its counter.
#[derive(Debug)]
pub struct PrefixState {
    /// The prefix.
    pub prefix: Prefix,
    /// Its counter; `None` when somebody deleted it.
    pub counter: Option<CounterDocument>,
}

/// Some prefixes, and where the next ones begin.
#[derive(Debug)]
pub struct PrefixPage {
    /// In the order of application, role and environment.
    pub prefixes: Vec<PrefixState>,
    /// The last one, when there are more.
    pub next: Option<PrefixPosition>,
}

/// Where a page of prefixes ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixPosition(Prefix);

impl PrefixPosition {
    /// The prefix that was the last one.
    pub fn prefix(&self) -> &Prefix {
        &self.0
    }
}

/// A prefix, if it has a counter.
pub(super) async fn find(
    store: &Arc<dyn DocumentStore>,
    prefix: Prefix,
) -> Result<Option<PrefixState>, HostnameError> {
    match read::<CounterDocument>(store, &layout::counter(&prefix)).await? {
        Read::Present { data, .. } => Ok(Some(PrefixState {
            prefix,
            counter: Some(data),
        })),
        Read::Absent => Ok(None),
        Read::Deleted { .. } => Err(AllocateError::Deleted("counter of the prefix").into()),
    }
}

pub(super) async fn list(
    store: &Arc<dyn DocumentStore>,
    filter: &Filter,
    after: Option<&PrefixPosition>,
    limit: usize,
) -> Result<PrefixPage, HostnameError> {
    let after = after.map(PrefixPosition::prefix);
    let mut found = Prefixes::new(store, filter, after);
    let mut prefixes: Vec<PrefixState> = Vec::new();
    // One more than the page holds tells whether there is another page.
    while prefixes.len() <= limit
        && let Some(prefix) = found.next().await?
    {
        if after == Some(&prefix) {
            continue;
        }
        let counter = match read::<CounterDocument>(store, &layout::counter(&prefix)).await? {
            Read::Present { data, .. } => Some(data),
            Read::Absent => continue,
            Read::Deleted { .. } => None,
        };
        prefixes.push(PrefixState { prefix, counter });
    }
    let more = prefixes.len() > limit;
    prefixes.truncate(limit);
    let last = prefixes.last().filter(|_| more);
    Ok(PrefixPage {
        next: last.map(|state| PrefixPosition(state.prefix.clone())),
        prefixes,
    })
}
