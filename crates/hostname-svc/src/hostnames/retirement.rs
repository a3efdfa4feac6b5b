//! Hostnames that are not in use any more: their records stay, and their names stay taken.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;

use super::{Found, HostnameError};
use crate::{
    allocator::{AllocateError, json, read},
    documents::{Record, Retirement, layout},
    hostname::Prefix,
    store::{Child, DocumentStore, Read, StoreError, Write},
};

/// Retirements looked up at a time.
const PARALLEL: usize = 32;
/// Before a write whose reply was lost is made again.
const PAUSE: Duration = Duration::from_millis(20);

/// Writes down that a hostname is retired; gives the first retirement, when there was one.
pub(super) async fn retire(
    store: &Arc<dyn DocumentStore>,
    record: &Record,
    retirement: Retirement,
) -> Result<Retirement, HostnameError> {
    let path = layout::retirement(&prefix_of(record)?, &record.hostname);
    let document = json(&path, &retirement)?;
    loop {
        match store.write(&path, 0, &document).await {
            Ok(Write::Written) => return Ok(retirement),
            // Somebody's, or our own, whose reply was lost.
            Ok(Write::Mismatch) => {
                if let Some(first) = look_up(store, record).await? {
                    return Ok(first);
                }
            }
            Err(StoreError::Unknown(_)) => (),
            Err(error) => return Err(error.into()),
        }
        sleep(PAUSE).await;
    }
}

/// The retirement of a hostname, if it is retired.
pub(super) async fn look_up(
    store: &Arc<dyn DocumentStore>,
    record: &Record,
) -> Result<Option<Retirement>, HostnameError> {
    let path = layout::retirement(&prefix_of(record)?, &record.hostname);
    match read::<Retirement>(store, &path).await? {
        Read::Present { data, .. } => Ok(Some(data)),
        Read::Absent => Ok(None),
        Read::Deleted { .. } => Err(AllocateError::Deleted("retirement of the hostname").into()),
    }
}

/// Puts each record together with its retirement. A prefix of which nothing is retired costs one call.
pub(super) async fn join(
    store: &Arc<dyn DocumentStore>,
    records: Vec<Record>,
) -> Result<Vec<Found>, HostnameError> {
    let prefixes: HashSet<Prefix> = records.iter().map(prefix_of).collect::<Result<_, _>>()?;
    let folders = stream::iter(prefixes)
        .map(|prefix| async move { store.list(&layout::retirements(&prefix)).await })
        .buffer_unordered(PARALLEL);
    let names: Vec<Vec<Child>> = folders.try_collect().await?;
    let retired: HashSet<String> = names
        .into_iter()
        .flatten()
        .map(|child| match child {
            Child::Document(name) | Child::Folder(name) => name,
        })
        .collect();
    let retired = &retired;
    let found = stream::iter(records).map(|record| async move {
        let retirement = match retired.contains(record.hostname.as_str()) {
            true => look_up(store, &record).await?,
            false => None,
        };
        Ok(Found { record, retirement })
    });
    found.buffered(PARALLEL).try_collect().await
}

fn prefix_of(record: &Record) -> Result<Prefix, HostnameError> {
    let prefix = Prefix::new(
        record.application.clone(),
        record.role.clone(),
        record.environment.clone(),
    );
    prefix.map_err(|field| AllocateError::Unreadable(field.to_string()).into())
}
