//! Finishes what a replica left that is gone, where nobody has asked since.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    HostnameError,
    listing::{Filter, Prefixes},
};
use crate::{
    allocator::{Allocator, read},
    documents::{CounterDocument, layout},
    hostname::Prefix,
    store::{DocumentStore, Read},
};

/// A counter that stands still for so long has nobody who works on it.
const STILL: Duration = Duration::from_secs(10);

pub(super) async fn sweep_for_ever(
    store: &Arc<dyn DocumentStore>,
    allocator: &Allocator,
    interval: Duration,
) {
    loop {
        match sweep_once(store, allocator).await {
            Err(HostnameError::Failed(error)) if error.is_outage() => {
                tracing::debug!("what is left pending is looked for later: {error}");
            }
            Err(error) => tracing::warn!("what is left pending cannot be looked for: {error}"),
            Ok(()) => (),
        }
        sleep(interval).await;
    }
}

async fn sweep_once(
    store: &Arc<dyn DocumentStore>,
    allocator: &Allocator,
) -> Result<(), HostnameError> {
    let filter = Filter::default();
    let mut prefixes = Prefixes::new(store, &filter, None);
    let mut pending: Vec<(Prefix, u64)> = Vec::new();
    while let Some(prefix) = prefixes.next().await? {
        match pending_version(store, &prefix).await {
            Ok(Some(version)) => pending.push((prefix, version)),
            Ok(None) => (),
            // One counter that cannot be read must not keep the others from being finished.
            Err(error) => tracing::warn!("the counter of {prefix} was not looked at: {error}"),
        }
    }
    if pending.is_empty() {
        return Ok(());
    }
    sleep(STILL).await;
    for (prefix, version) in pending {
        if matches!(pending_version(store, &prefix).await, Ok(Some(now)) if now == version) {
            tracing::info!("finishing what is left pending of {prefix}");
            allocator.sweep(prefix).await;
        }
    }
    Ok(())
}

/// Version of the counter, if something is pending in it.
async fn pending_version(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
) -> Result<Option<u64>, HostnameError> {
    match read::<CounterDocument>(store, &layout::counter(prefix)).await? {
        Read::Present { version, data } if !data.pending.is_empty() => Ok(Some(version)),
        _ => Ok(None),
    }
}
