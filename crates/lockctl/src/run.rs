//! `lockctl run`: a command under a lock.

mod child;
pub(crate) mod shim;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use lock_client::{Error, LockClient, LockGuard};

use self::child::Child;
use crate::cli::{Connection, Run};
use crate::connect;
use crate::exit::{Failure, LOST, NOT_ACQUIRED, SIGNALLED, USAGE};
use crate::output::{human, printable};
use crate::signals::Signals;
use crate::waiting;

/// Longest default time between SIGTERM and SIGKILL.
const LONGEST_GRACE: Duration = Duration::from_secs(5);

/// What is left of the validity when the command gets SIGKILL at the latest: time for it to be gone.
const LAST: Duration = Duration::from_millis(200);

pub(crate) async fn run(connection: &Connection, run: &Run) -> Result<u8, Failure> {
    if run.grace.is_some_and(|grace| grace > run.wish.ttl / 2) {
        // Between two renewals no more may be left.
        let why = "`--grace` must be at most half of `--ttl`";
        return Err(Failure::new(USAGE, why));
    }
    let mut signals = Signals::listen()?;
    let client = connect::client(connection)?;
    let outcome = under_lock(connection, &client, run, &mut signals).await;
    connect::close(client).await;
    outcome.map_err(|failure| match failure.code {
        NOT_ACQUIRED => Failure::new(run.exit_not_acquired, failure.why),
        LOST => Failure::new(run.exit_lost, failure.why),
        _ => failure,
    })
}

async fn under_lock(
    connection: &Connection,
    client: &LockClient,
    run: &Run,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let guard = tokio::select! {
        guard = waiting::acquire(connection, client, &run.wish) => guard?,
        signal = signals.ending() => {
            let why = format!("interrupted while waiting for `{}`", printable(&run.wish.key));
            return Err(Failure::new(SIGNALLED + signal, why));
        }
    };
    let taken = Instant::now();
    let grace = run.grace.unwrap_or((run.wish.ttl / 5).min(LONGEST_GRACE));
    let child = Child::start(&run.command, &environment(&guard))?;
    let code = tokio::select! {
        code = attend(&child, signals) => code,
        () = nearly_lost(&guard, grace.max(LAST)) => {
            stop(&child, &guard, grace, signals).await;
            let (key, held) = (printable(guard.key()), human(Some(taken.elapsed())));
            // Nothing is left to give back, but for a server that comes back in time.
            drop(guard);
            return Err(Failure::new(LOST, format!("lock `{key}` was lost after {held}: the command was stopped")));
        }
    };
    let released = tokio::select! {
        biased;
        released = guard.release() => released,
        // Nobody is to wait for a service that is away: the rest is done while we close.
        _ = signals.ending() => return Ok(code),
    };
    match released {
        Err(Error::Lost { key }) => {
            let why = format!("lock `{key}` was lost before the command ended (with {code})");
            Err(Failure::new(LOST, why))
        }
        Err(error) => {
            let why = crate::exit::chain(&error);
            let _ = writeln!(
                io::stderr(),
                "lockctl: the lock was not given back and runs out by itself: {why}"
            );
            Ok(code)
        }
        Ok(()) => Ok(code),
    }
}

fn environment(guard: &LockGuard) -> Vec<(&'static str, String)> {
    vec![
        ("LOCK_KEY", guard.key().to_owned()),
        ("LOCK_FENCING_TOKEN", guard.fencing_token().to_string()),
        ("LOCK_TOKEN_EPOCH", guard.token_epoch().to_owned()),
        ("LOCK_LEASE_ID", guard.lease_id().to_owned()),
    ]
}

/// Passes signals on until the command has ended: its exit code.
async fn attend(child: &Child, signals: &mut Signals) -> u8 {
    loop {
        if let Some(code) = child.ended() {
            return code;
        }
        if let Some(signal) = signals.next().await {
            child.pass_on(signal);
        }
    }
}

/// Until the lock is surely held for no longer than `grace`.
async fn nearly_lost(guard: &LockGuard, grace: Duration) {
    /// A timer does not see that the machine was suspended.
    const LONGEST: Duration = Duration::from_secs(1);
    loop {
        let spare = guard.remaining().saturating_sub(grace);
        if spare.is_zero() {
            return;
        }
        tokio::select! {
            () = guard.lost() => return,
            () = tokio::time::sleep(spare.min(LONGEST)) => (),
        }
    }
}

/// SIGTERM, and SIGKILL when the grace, or the validity, is about to end.
async fn stop(child: &Child, guard: &LockGuard, grace: Duration, signals: &mut Signals) {
    child.terminate();
    // Lost already, it was taken by force: as little as the rest of the world expects.
    let time = match guard.remaining() {
        Duration::ZERO => grace,
        left => grace.min(left.saturating_sub(LAST)),
    };
    let gone = async {
        while child.ended().is_none() {
            signals.next().await;
        }
    };
    let _ = tokio::time::timeout(time, gone).await;
    // Whatever of it is left, also when the command itself is gone.
    child.kill();
    while child.ended().is_none() {
        signals.next().await;
    }
}
