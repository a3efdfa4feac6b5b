//! `bench`: locks taken and given back as fast as the service lets us.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use lock_client::{AcquireOptions, LockClient};
use serde_json::json;
use uuid::Uuid;

use crate::cli::{Bench, Connection, Output};
use crate::connect;
use crate::exit::Failure;
use crate::output;

pub(crate) async fn bench(connection: &Connection, bench: &Bench) -> Result<u8, Failure> {
    let client = connect::native(connection)?;
    let started = Instant::now();
    let until = started + bench.duration;
    let run = Uuid::new_v4();
    let worker = |number: u32| {
        let key = match bench.contended {
            true => format!("lockctl-bench/{run}"),
            false => format!("lockctl-bench/{run}/{number}"),
        };
        turns(&client, key, until)
    };
    let turns = try_join_all((0..bench.concurrency).map(worker)).await?;
    let elapsed = started.elapsed();
    let mut times: Vec<Duration> = turns.into_iter().flatten().collect();
    times.sort_unstable();
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    let [half, most, worst] = [0.5, 0.99, 1.0].map(|share| share_of(&times, share));
    match connection.output {
        Output::Json => output::json(&json!({
            "concurrency": bench.concurrency, "acquired": times.len(), "seconds": elapsed.as_secs_f64(), "per_second": rate,
            "acquire_ms": { "p50": ms(half), "p99": ms(most), "max": ms(worst) },
        }))?,
        _ => output::table(
            [
                "AT ONCE",
                "LOCKS",
                "PER SECOND",
                "ACQUIRE P50",
                "P99",
                "MAX",
            ],
            &[[
                bench.concurrency.to_string(),
                times.len().to_string(),
                format!("{rate:.0}"),
                format!("{:.1}ms", ms(half)),
                format!("{:.1}ms", ms(most)),
                format!("{:.1}ms", ms(worst)),
            ]],
        )?,
    }
    Ok(0)
}

/// How long each acquire took.
async fn turns(client: &LockClient, key: String, until: Instant) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        let guard = client.acquire(&key, AcquireOptions::default()).await?;
        times.push(asked.elapsed());
        guard.release().await?;
    }
    Ok(times)
}

/// The time that so large a share of all did not exceed.
fn share_of(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1) as f64;
    let place = (last * share).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
