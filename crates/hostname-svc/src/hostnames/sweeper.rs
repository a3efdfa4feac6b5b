//! Finishes what a replica left that is gone, where nobody has asked since.

use std::{sync::Arc, time::Duration};

use prometheus::IntGauge;
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

/// Logs why nothing was found out, if so.
pub(super) fn told(outcome: Result<(), HostnameError>) {
    match outcome {
        Err(HostnameError::Failed(error)) if error.is_outage() => {
            tracing::debug!("what is left pending is looked for later: {error}");
        }
        Err(error) => tracing::warn!("what is left pending cannot be looked for: {error}"),
        Ok(()) => (),
    }
}

/// Settles what has been pending for a while, and counts the prefixes that are nearly full.
pub(super) async fn sweep_once(
    store: &Arc<dyn DocumentStore>,
    allocator: &Allocator,
    nearly_full: &IntGauge,
) -> Result<(), HostnameError> {
    let filter = Filter::default();
    let mut prefixes = Prefixes::new(store, &filter, None);
    let mut pending: Vec<(Prefix, u64)> = Vec::new();
    let mut full = 0;
    while let Some(prefix) = prefixes.next().await? {
        match counter(store, &prefix).await {
            Ok(Some((version, counter))) => {
                full += i64::from(is_nearly_full(&prefix, &counter));
                if !counter.pending.is_empty() {
                    pending.push((prefix, version));
                }
            }
            Ok(None) => (),
            // One counter that cannot be read must not keep the others from being finished.
            Err(error) => tracing::warn!("the counter of {prefix} was not looked at: {error}"),
        }
    }
    nearly_full.set(full);
    if pending.is_empty() {
        return Ok(());
    }
    sleep(STILL).await;
    for (prefix, version) in pending {
        if matches!(counter(store, &prefix).await, Ok(Some((now, _))) if now == version) {
            tracing::info!("finishing what is left pending of {prefix}");
            allocator.sweep(prefix).await;
        }
    }
    Ok(())
}

/// Whether nine tenths of the numbers of a prefix are used up.
fn is_nearly_full(prefix: &Prefix, counter: &CounterDocument) -> bool {
    counter.value * 10 >= counter.shape(counter.value).last(prefix) * 9
}

/// The counter of a prefix and its version, if it is there.
async fn counter(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
) -> Result<Option<(u64, CounterDocument)>, HostnameError> {
    match read::<CounterDocument>(store, &layout::counter(prefix)).await? {
        Read::Present { version, data } => Ok(Some((version, data))),
        _ => Ok(None),
    }
}
