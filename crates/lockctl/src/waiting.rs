//! Taking a lock, and saying what is waited for.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use lock_client::{AcquireOptions, Error, LockClient, LockGuard, LockView, Mode};

use crate::cli::{Connection, Wire, Wish};
use crate::exit::Failure;
use crate::output::{human, printable};

/// How long it says nothing, and then how often it speaks.
const QUIET: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(10);

/// Takes the lock, and tells what it waits for.
pub(crate) async fn acquire(
    connection: &Connection,
    client: &LockClient,
    wish: &Wish,
) -> Result<LockGuard, Failure> {
    let options = options(wish);
    let taking = async {
        match connection.wire {
            Wire::V1 => client.acquire(&wish.key, options).await,
            Wire::Lease => client.acquire_lease(&wish.key, options).await,
        }
    };
    told(connection, client, wish, taking).await
}

/// What is taken by `taking`; what is waited for is told on standard error.
pub(crate) async fn told(
    connection: &Connection,
    client: &LockClient,
    wish: &Wish,
    taking: impl Future<Output = Result<LockGuard, Error>>,
) -> Result<LockGuard, Failure> {
    tokio::select! {
        guard = taking => Ok(guard?),
        never = tell(connection, client, wish) => match never {},
    }
}

pub(crate) fn options(wish: &Wish) -> AcquireOptions {
    let mode = match wish.permit {
        Some(limit) => Mode::Permit {
            limit,
            weight: wish.weight,
        },
        None if wish.shared => Mode::Shared,
        None => Mode::Exclusive,
    };
    AcquireOptions {
        ttl: wish.ttl,
        wait: wish.wait,
        mode,
        metadata: wish.metadata.iter().cloned().collect(),
        ..AcquireOptions::default()
    }
}

async fn tell(
    connection: &Connection,
    client: &LockClient,
    wish: &Wish,
) -> std::convert::Infallible {
    if connection.quiet {
        return std::future::pending().await;
    }
    let started = Instant::now();
    tokio::time::sleep(QUIET).await;
    loop {
        let waited = human(Some(started.elapsed()));
        let told = match connection.wire {
            Wire::V1 => client.inspect(&wish.key).await.ok(),
            Wire::Lease => None,
        };
        let told = told.map(|lock| situation(&lock, client.holder()));
        let told = told.unwrap_or_default();
        let key = printable(&wish.key);
        let _ = writeln!(
            io::stderr(),
            "lockctl: waiting for `{key}` for {waited}{told}"
        );
        tokio::time::sleep(AGAIN).await;
    }
}

/// Who has it, for how long, and where we stand.
fn situation(lock: &LockView, we: &str) -> String {
    let mut text = String::new();
    if let Some(first) = lock.holders.first() {
        let holder = first.holder.as_deref().unwrap_or("somebody");
        let (holder, time) = (printable(holder), human(first.held_for));
        text = format!(": held by `{holder}` for {time}");
        if let more @ 1.. = lock.holders.len() - 1 {
            text = format!("{text} and {more} more");
        }
    }
    let mut waiters = lock.waiters.iter();
    if let Some(place) = waiters.position(|waiter| waiter.holder.as_deref() == Some(we)) {
        let (place, all) = (place + 1, lock.waiters.len());
        text = format!("{text}; place {place} of {all} in the queue");
    }
    text
}
