//! What would be given out, without anything being written.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::HostnameError;
use crate::{
    allocator::{AllocateError, read},
    documents::{CounterDocument, GivenUp, StoredRecord, layout},
    hostname::{Counter, Hostname, Prefix},
    store::{DocumentStore, Read},
};

/// Records read at a time.
const PARALLEL: usize = 32;
/// How many names in a row may be somebody else's before no more are looked for.
const TAKEN_MAX: usize = 64;

/// What an import would do.
#[derive(Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Would be imported.
    pub free: Vec<Counter>,
    /// Have a record already, of whomever.
    pub taken: Vec<Counter>,
    /// Are not beyond the counter. One of them, and the whole import is refused.
    pub passed: Vec<Counter>,
    /// How many numbers would never be given out, because they lie between.
    pub passed_over: u64,
}

/// The next hostnames of a prefix, as far as reads tell.
pub(super) async fn next(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
    count: usize,
) -> Result<Vec<(Counter, Hostname)>, HostnameError> {
    let first = counter(store, prefix).await?.value + 1;
    let candidates = (first..=prefix.last()).filter_map(Counter::new);
    let mut looks = stream::iter(candidates)
        .map(|counter| async move {
            Ok::<_, HostnameError>((counter, free(store, prefix, counter).await?))
        })
        .buffered(PARALLEL.min(count));
    let (mut names, mut taken) = (Vec::new(), 0);
    while names.len() < count
        && let Some((counter, hostname)) = looks.try_next().await?
    {
        match hostname {
            Some(hostname) => names.push((counter, hostname)),
            None => taken += 1,
        }
        if taken > TAKEN_MAX {
            return Err(HostnameError::GivenUp(GivenUp::AlwaysTaken));
        }
    }
    if names.len() < count {
        return Err(HostnameError::GivenUp(GivenUp::Exhausted));
    }
    Ok(names)
}

/// What an import of these numbers would do.
pub(super) async fn import(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
    chosen: &[Counter],
) -> Result<Outlook, HostnameError> {
    let mut counter = counter(store, prefix).await?;
    let (passed, beyond): (Vec<_>, Vec<_>) =
        chosen.iter().partition(|it| it.get() <= counter.value);
    let looks = stream::iter(&beyond)
        .map(|&number| async move {
            Ok::<_, HostnameError>((number, free(store, prefix, number).await?))
        })
        .buffered(PARALLEL);
    let looks: Vec<_> = looks.try_collect().await?;
    let mut passed_over = 0;
    for number in &beyond {
        passed_over += counter.pass_to(number.get() - 1);
        counter.value = number.get();
    }
    let (free, taken): (Vec<_>, Vec<_>) = looks.into_iter().partition(|(_, free)| free.is_some());
    let numbers =
        |found: Vec<(Counter, Option<Hostname>)>| found.into_iter().map(|it| it.0).collect();
    Ok(Outlook {
        free: numbers(free),
        taken: numbers(taken),
        passed,
        passed_over,
    })
}

async fn counter(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
) -> Result<CounterDocument, HostnameError> {
    match read::<CounterDocument>(store, &layout::counter(prefix)).await? {
        Read::Present { data, .. } => Ok(data),
        Read::Absent => Ok(CounterDocument::default()),
        Read::Deleted { .. } => Err(AllocateError::Deleted("counter of the prefix").into()),
    }
}

/// The hostname of a number, unless there is something at the place of its record.
async fn free(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
    counter: Counter,
) -> Result<Option<Hostname>, HostnameError> {
    let Some(hostname) = prefix.hostname(counter) else {
        return Ok(None);
    };
    let found = read::<StoredRecord>(store, &layout::record(&hostname)).await?;
    Ok((found == Read::Absent).then_some(hostname))
}
