//! Makes the calls of a cycle, several at a time.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{
    cycle::{Answer, Call, Cycle, End, Reply, Request},
    error::AllocateError,
    stem::register_stem,
};
use crate::{
    breaker::REFUSAL,
    documents::{CounterDocument, layout},
    hostname::Prefix,
    store::{DocumentPath, DocumentStore, Read, StoreError, Write},
};

/// First and longest pause before a call is made again.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(80);
/// How often it is looked whether the store has become silent.
const TICK: Duration = Duration::from_millis(100);

/// How a cycle is driven.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Calls under way at a time.
    pub(crate) parallel: usize,
    /// How long the store may be without one answer that can be relied on.
    pub(crate) silence: Duration,
}

/// Drives a cycle to its end, and hands its answers on as they come.
///
/// Giving up leaves nothing to be undone: what is pending will be settled by the next cycle.
pub(crate) async fn drive(
    cycle: &mut Cycle,
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
    pace: Pace,
    deadline: Instant,
    mut told: impl FnMut(u64, Answer),
) -> Result<End, AllocateError> {
    let mut under_way = FuturesUnordered::new();
    let mut silence = Silence::default();
    let mut resting = Instant::now();
    loop {
        while under_way.len() < pace.parallel
            && resting <= Instant::now()
            && let Some(call) = cycle.next_call()
        {
            under_way.push(perform(store, prefix, call));
        }
        for (id, answer) in cycle.take_answers() {
            told(id, answer);
        }
        if let Some(end) = cycle.end() {
            return Ok(end.clone());
        }
        if under_way.is_empty() && resting > Instant::now() {
            sleep_until(resting).await;
            continue;
        }
        let waited = Instant::now();
        let next = timeout_at(deadline.min(waited + TICK), under_way.next()).await;
        // While this process is stopped, replies pile up in its sockets: that is nobody's silence.
        silence.lasts(waited.elapsed().min(2 * TICK));
        match next {
            Ok(Some((id, outcome))) => {
                if let Some(rest) = rest_of(&outcome) {
                    resting = resting.max(Instant::now() + rest);
                    // Nothing can be done in the time that is left.
                    if resting >= deadline {
                        return outcome.map_or_else(Err, |_| Err(AllocateError::Internal));
                    }
                }
                cycle.reply(id, silence.hear(outcome)?);
            }
            Ok(None) => return Err(AllocateError::Internal),
            Err(_) if Instant::now() >= deadline => return Err(AllocateError::Timeout),
            Err(_) => (),
        }
        if silence.time >= pace.silence {
            return Err(silence.explained(pace.silence));
        }
    }
}

/// How long the store asks to be left alone.
fn rest_of(outcome: &Result<Reply, AllocateError>) -> Option<Duration> {
    match outcome {
        Err(AllocateError::Store(error)) => match **error {
            StoreError::Busy { retry_after } => Some(retry_after),
            _ => None,
        },
        _ => None,
    }
}

/// How long the store has said nothing that can be relied on.
#[derive(Default)]
struct Silence {
    time: Duration,
    /// What it said instead.
    denial: Option<AllocateError>,
}

impl Silence {
    fn lasts(&mut self, time: Duration) {
        self.time += time;
    }

    /// What the cycle is told. A call without a usable answer is made again, the same.
    fn hear(&mut self, outcome: Result<Reply, AllocateError>) -> Result<Reply, AllocateError> {
        let error = match outcome {
            Ok(reply) => {
                *self = Self::default();
                return Ok(reply);
            }
            Err(AllocateError::Store(error)) => error,
            Err(AllocateError::Unreadable(which)) => return Ok(Reply::Unreadable(which)),
            Err(error) => return Err(error),
        };
        match &*error {
            StoreError::Unknown(_) => (),
            StoreError::Busy { .. } => *self = Self::default(),
            StoreError::Denied(_) => self.denial = Some(AllocateError::Store(Arc::clone(&error))),
            StoreError::Unavailable(_) if self.time < REFUSAL => (),
            StoreError::Unavailable(_) | StoreError::Sealed | StoreError::Refused(_) => {
                return Err(error.into());
            }
        }
        tracing::debug!("a call to the store is made again: {error}");
        Ok(Reply::Unknown)
    }

    /// Why it is waited no longer.
    fn explained(self, patience: Duration) -> AllocateError {
        self.denial.unwrap_or_else(|| {
            let silence = anyhow::anyhow!("no answer within {patience:?}");
            StoreError::Unavailable(silence).into()
        })
    }
}

async fn perform(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
    call: Call,
) -> (u64, Result<Reply, AllocateError>) {
    if call.attempt > 0 {
        sleep(pause(call.attempt)).await;
    }
    let reply = match &call.request {
        Request::ReadCounter => read(store, &layout::counter(prefix))
            .await
            .map(Reply::Counter),
        Request::ReadIdem(key) => read(store, &layout::idem(key)).await.map(Reply::Idem),
        Request::ReadRecord(hostname) => read(store, &layout::record(hostname))
            .await
            .map(Reply::Record),
        Request::WriteCounter {
            cas,
            counter,
            opens,
        } => match begin(store, prefix, counter, *opens).await {
            Ok(()) => write(store, &layout::counter(prefix), *cas, &**counter).await,
            Err(error) => Err(error),
        },
        Request::WriteIdem { key, cas, idem } => {
            write(store, &layout::idem(key), *cas, &**idem).await
        }
        Request::WriteRecord(record) => {
            write(store, &layout::record(&record.hostname), 0, &**record).await
        }
    };
    (call.id, reply)
}

/// What goes before the first write of a counter, and before the first of each form of its hostnames.
async fn begin(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
    counter: &CounterDocument,
    opens: bool,
) -> Result<(), AllocateError> {
    if !opens {
        return Ok(());
    }
    let first = counter.shape(1);
    for shape in counter.shapes.values().chain([&first]) {
        let surroundings = shape.template.surroundings(prefix);
        register_stem(store, prefix, &surroundings).await?;
    }
    Ok(())
}

/// A pause before something is tried again for the first time.
pub(super) async fn pause_before_repeat() {
    sleep(pause(1)).await;
}

/// Between half and all of a time that doubles: replicas that met once should not meet again.
fn pause(attempt: u32) -> Duration {
    let longest = (PAUSE * 2_u32.pow(attempt.min(4) - 1)).min(LONGEST_PAUSE);
    longest.mul_f64(rand::random_range(0.5..1.0))
}

/// Reads a document of a known form.
pub(crate) async fn read<T: DeserializeOwned>(
    store: &Arc<dyn DocumentStore>,
    path: &DocumentPath,
) -> Result<Read<T>, AllocateError> {
    Ok(match store.read(path).await? {
        Read::Absent => Read::Absent,
        Read::Deleted { version } => Read::Deleted { version },
        Read::Present { version, data } => {
            let data = serde_json::from_value(data)
                .map_err(|error| AllocateError::Unreadable(format!("{path}: {error}")))?;
            Read::Present { version, data }
        }
    })
}

async fn write<T: Serialize>(
    store: &Arc<dyn DocumentStore>,
    path: &DocumentPath,
    cas: u64,
    document: &T,
) -> Result<Reply, AllocateError> {
    Ok(
        match store.write(path, cas, &json(path, document)?).await? {
            Write::Written => Reply::Written,
            Write::Mismatch => Reply::Mismatch,
        },
    )
}

/// The JSON of a document.
pub(crate) fn json<T: Serialize>(
    path: &DocumentPath,
    document: &T,
) -> Result<Value, AllocateError> {
    serde_json::to_value(document)
        .map_err(|error| AllocateError::Unreadable(format!("{path}: {error}")))
}

#[cfg(test)]
mod tests;
