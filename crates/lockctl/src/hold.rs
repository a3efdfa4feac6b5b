//! `acquire`, `keepalive`, `release`, `verify`: a lock in the hands of a script.

use std::time::{Duration, Instant};

use lock_client::{LockClient, LockGuard, SessionOptions, Tenure};
use serde_json::json;

use crate::cli::{self, Acquire, Connection, Keepalive, Output, Release, Verify, Wire};
use crate::connect;
use crate::exit::{Failure, SIGNALLED, UNAVAILABLE, WRONG};
use crate::output::{self, human};
use crate::signals::Signals;
use crate::waiting;

/// When a renewal is tried again that found the service in trouble.
const RETRY: Duration = Duration::from_millis(300);

pub(crate) async fn acquire(connection: &Connection, acquire: &Acquire) -> Result<u8, Failure> {
    let client = match acquire.session {
        None => connect::client(connection)?,
        Some(_) => connect::native(connection)?,
    };
    let mut signals = Signals::listen()?;
    let session = match &acquire.session {
        None => None,
        Some(id) => Some(client.adopt_session(id, SessionOptions::default()).await?),
    };
    let taken = async {
        match &session {
            None => waiting::acquire(connection, &client, &acquire.wish).await,
            Some(session) => {
                let taking = session.acquire(&acquire.wish.key, waiting::options(&acquire.wish));
                waiting::told(connection, &client, &acquire.wish, taking).await
            }
        }
    };
    let guard = tokio::select! {
        guard = taken => guard,
        signal = signals.ending() => Err(Failure::new(SIGNALLED + signal, "interrupted while waiting")),
    };
    // Whatever became of this lock, the others of the session stay.
    if let Some(session) = session {
        session.hand_off();
    }
    let told = guard.and_then(|guard| {
        tell(connection, &guard)?;
        // A lock that nobody was told of is given back instead.
        guard.hand_off();
        Ok(0)
    });
    if told.is_err() {
        connect::close(client).await;
    }
    told
}

fn tell(connection: &Connection, guard: &LockGuard) -> Result<(), Failure> {
    let (tenure, remaining) = (guard.tenure().clone(), guard.remaining());
    match connection.output {
        Output::Json => output::json(&with_remaining(&tenure, remaining, guard.note()))?,
        Output::Env => output::exports(&[
            ("LOCK_KEY", tenure.key),
            ("LOCK_FENCING_TOKEN", tenure.fencing_token.to_string()),
            ("LOCK_TOKEN_EPOCH", tenure.token_epoch),
            ("LOCK_LEASE_ID", tenure.lease_id),
        ])?,
        Output::Table => output::table(
            ["KEY", "LEASE", "FENCING TOKEN", "VALID FOR"],
            &[[
                output::printable(&tenure.key),
                tenure.lease_id,
                tenure.fencing_token.to_string(),
                human(Some(remaining)),
            ]],
        )?,
    }
    Ok(())
}

pub(crate) async fn keepalive(
    connection: &Connection,
    keepalive: &Keepalive,
) -> Result<u8, Failure> {
    let client = connect::client(connection)?;
    if keepalive.go_on {
        return keep(connection, &client, keepalive).await;
    }
    let left = renew(connection, &client, keepalive).await?;
    match connection.output {
        Output::Json => {
            output::json(&json!({ "key": keepalive.key, "remaining_ms": millis(left) }))?;
        }
        _ => output::line(&format!("valid for {}", human(Some(left))))?,
    }
    Ok(0)
}

/// Renews until the lock is lost, or a signal comes.
async fn keep(
    connection: &Connection,
    client: &LockClient,
    keepalive: &Keepalive,
) -> Result<u8, Failure> {
    let mut signals = Signals::listen()?;
    let mut until = Instant::now();
    loop {
        let sent = Instant::now();
        let pause = match renew(connection, client, keepalive).await {
            Ok(left) => {
                until = sent + left;
                left / 3
            }
            // What is in trouble may be back before the lease is over.
            Err(failure) if failure.code == UNAVAILABLE && Instant::now() < until => RETRY,
            Err(failure) => return Err(failure),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => (),
            _ = signals.ending() => return Ok(0),
        }
    }
}

async fn renew(
    connection: &Connection,
    client: &LockClient,
    keepalive: &Keepalive,
) -> Result<Duration, Failure> {
    match connection.wire {
        Wire::V1 => Ok(client.keep_alive(&keepalive.key, &keepalive.lease).await?),
        Wire::Lease => Ok(client
            .keep_lease_alive(&keepalive.key, &keepalive.lease)
            .await?),
    }
}

pub(crate) async fn release(connection: &Connection, release: &Release) -> Result<u8, Failure> {
    let client = connect::native(connection)?;
    let released = client.remove_if_owner(&tenure(&release.tenure)).await?;
    match connection.output {
        Output::Json => output::json(&json!({ "key": release.tenure.key, "released": released }))?,
        _ if released => output::line("released")?,
        _ => output::line("it was over already")?,
    }
    Ok(0)
}

pub(crate) async fn verify(connection: &Connection, verify: &Verify) -> Result<u8, Failure> {
    let client = connect::native(connection)?;
    let current = client.verify(&tenure(&verify.tenure)).await?;
    match connection.output {
        Output::Json => output::json(&json!({ "key": verify.tenure.key, "current": current }))?,
        _ if current => output::line("current")?,
        _ => output::line("not the current tenure")?,
    }
    Ok(if current { 0 } else { WRONG })
}

fn tenure(tenure: &cli::Tenure) -> Tenure {
    Tenure {
        key: tenure.key.clone(),
        lease_id: tenure.lease.clone(),
        fencing_token: tenure.token,
        token_epoch: String::new(),
    }
}

fn with_remaining(tenure: &Tenure, remaining: Duration, note: Option<&str>) -> serde_json::Value {
    json!({
        "key": tenure.key, "lease_id": tenure.lease_id, "fencing_token": tenure.fencing_token.to_string(),
        "token_epoch": tenure.token_epoch, "remaining_ms": millis(remaining), "note": note,
    })
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
