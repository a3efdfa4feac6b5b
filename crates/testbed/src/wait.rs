//! Waiting for a condition, never for a while.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

/// Asks `check` every few milliseconds until it gives a value.
///
/// # Errors
/// When `within` has passed: `what` was waited for, and the last thing that `check` complained of.
pub async fn eventually<T, E: Display>(
    what: &str,
    within: Duration,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let started = Instant::now();
    let mut complaint = String::from("it was never asked");
    while let Some(left) = within.checked_sub(started.elapsed()) {
        match tokio::time::timeout(left, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => complaint = format!("{error:#}"),
            Err(_) => complaint = format!("no answer in time; before that: {complaint}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(anyhow!("{what}: not within {within:?} ({complaint})"))
}
