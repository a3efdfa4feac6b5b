//! What would be given out, without anything being written.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::HostnameError;
use crate::{
    allocator::{AllocateError, read},
    documents::{CounterDocument, GivenUp, StoredRecord, layout},
    hostname::{Counter, Hostname, Prefix, Shape},
    policy::Policy,
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
    /// What hostnames of these numbers look like.
    pub shape: Shape,
    /// How many numbers would never be given out, because they lie between.
    pub passed_over: u64,
}

/// The next hostnames of a prefix, as far as reads tell.
pub(super) async fn next(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
    policy: &Policy,
    count: usize,
) -> Result<Vec<(Counter, Hostname)>, HostnameError> {
    let counter = counter(store, prefix).await?;
    let left = policy
        .quota
        .map(|quota| quota.saturating_sub(counter.given()));
    if left.is_some_and(|left| left < count as u64) {
        return Err(HostnameError::GivenUp(GivenUp::Quota));
    }
    let shape = &policy.shape;
    let first = shape.next_after(counter.value.max(policy.start.get() - 1));
    let numbers = std::iter::successors(first, |number| shape.next_after(*number));
    let last = shape.last(prefix);
    let candidates = numbers
        .take_while(|number| *number <= last)
        .filter_map(Counter::new);
    let mut looks = stream::iter(candidates)
        .map(|number| async move {
            Ok::<_, HostnameError>((number, free(store, shape.hostname(prefix, number)).await?))
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
    policy: &Policy,
    chosen: &[Counter],
) -> Result<Outlook, HostnameError> {
    let mut counter = counter(store, prefix).await?;
    let (passed, beyond): (Vec<_>, Vec<_>) =
        chosen.iter().partition(|it| it.get() <= counter.value);
    let looks = stream::iter(&beyond)
        .map(|&number| async move {
            let hostname = policy.shape.hostname(prefix, number);
            Ok::<_, HostnameError>((number, free(store, hostname).await?))
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
        shape: policy.shape.clone(),
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

/// A hostname, unless there is something at the place of its record.
async fn free(
    store: &Arc<dyn DocumentStore>,
    hostname: Option<Hostname>,
) -> Result<Option<Hostname>, HostnameError> {
    let Some(hostname) = hostname else {
        return Ok(None);
    };
    let found = read::<StoredRecord>(store, &layout::record(&hostname)).await?;
    Ok((found == Read::Absent).then_some(hostname))
}
