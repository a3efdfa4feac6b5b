//! A closed loop: so many workers, each with a connection of its own, each doing the next thing as soon as the last is done.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

/// When a round ends.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    /// After this time.
    Time(Duration),
    /// After so many operations in all.
    Operations(u64),
}

/// What a round came to.
#[derive(Clone)]
pub(crate) struct Round {
    /// From the first operation to the end of the last.
    pub(crate) elapsed: Duration,
    /// How long each took, in microseconds.
    pub(crate) latencies: Histogram<u64>,
}

impl Round {
    /// Nothing yet.
    pub(crate) fn empty() -> Result<Self> {
        let latencies =
            Histogram::new_with_bounds(1, 600_000_000, 3).context("making a histogram")?;
        Ok(Self {
            elapsed: Duration::ZERO,
            latencies,
        })
    }

    /// Operations in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The time within which this part of all operations was done, in milliseconds.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// Takes in how long one operation took.
    pub(crate) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros.max(1));
    }
}

/// Somebody who does one operation after the other.
pub(crate) trait Worker: Send + 'static {
    /// The next operation; an error ends the measurement, since a failure is not fast.
    fn work(&mut self, turn: u64) -> impl Future<Output = Result<()>> + Send;
}

/// Lets all workers work until the round is over.
pub(crate) async fn run<W: Worker>(workers: Vec<W>, length: Length) -> Result<Round> {
    let share = match length {
        Length::Time(_) => u64::MAX,
        Length::Operations(all) => all.div_ceil(workers.len() as u64),
    };
    let started = Instant::now();
    let mut running = JoinSet::new();
    for mut worker in workers {
        let mut own = Round::empty()?;
        running.spawn(async move {
            for turn in 0..share {
                if matches!(length, Length::Time(time) if started.elapsed() >= time) {
                    break;
                }
                let begun = Instant::now();
                worker.work(turn).await?;
                own.record(begun.elapsed());
            }
            Ok::<_, anyhow::Error>(own)
        });
    }
    let mut round = Round::empty()?;
    while let Some(own) = running.join_next().await {
        round.latencies.add(&own??.latencies).context("adding up")?;
    }
    round.elapsed = started.elapsed();
    Ok(round)
}
