//! Sixteen processes take turns in critical sections, while some are killed (SIGKILL) and some are stopped
//! (SIGSTOP) at random moments, on a real S3 server.
//!
//! `cargo test --package s3-lock --test processes -- --seed 7 --sections 5000` runs another one, for longer.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "the counts are what it is for")]

mod front;
mod resource;
mod worker;

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use testbed::{Launch, Process, S3, eventually};
use tokio::time::{Instant, sleep};

use self::resource::{Count, Resource};

const PROCESSES: usize = 16;

/// Of the locks.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Faults of each kind that a run sees at least.
const FAULTS: usize = 8;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["worker", strategy, endpoint, bucket, resource] => {
            worker::work(strategy, endpoint, bucket, resource).await;
        }
        ["--seed", seed, "--sections", sections] => {
            prove(seed.parse().unwrap(), sections.parse().unwrap()).await;
        }
        _ => prove(rand::random_range(0..1_000_000), 500).await,
    }
}

async fn prove(seed: u64, sections: usize) {
    println!("seed {seed}");
    let s3 = Arc::new(S3::start().await.unwrap());
    s3.bucket("plain").await.unwrap();
    s3.versioned_bucket("versions").await.unwrap();

    let conditional = Run {
        strategy: "conditional",
        endpoint: s3.endpoint(),
        bucket: "plain",
        // Longer than a lock lives: whoever held it then is a holder of the past.
        stop: TIMEOUT..TIMEOUT * 2,
        refused: 3,
    };
    let count = conditional.under_attack(seed, sections).await;
    assert_eq!(count.twins, 0, "a fencing token was given twice");

    let atomic = front::Proxy::start(Arc::clone(&s3), front::Sees::All).await;
    let versioned = Run {
        strategy: "versioned",
        endpoint: &atomic,
        bucket: "versions",
        stop: Duration::ZERO..TIMEOUT / 2,
        refused: 0,
    };
    let count = versioned.under_attack(seed, sections).await;
    assert_eq!(count.overlaps, 0, "two were inside");

    front::is_refused_where_conditions_are_not_kept(&s3).await;
    let control = front::Proxy::start(Arc::clone(&s3), front::Sees::Probe).await;
    let without = Run {
        endpoint: &control,
        strategy: "conditional",
        bucket: "plain",
        stop: Duration::ZERO..TIMEOUT / 2,
        refused: 0,
    };
    let count = without.until_it_fails(sections).await;
    assert!(
        count.twins > 0,
        "without conditions nothing failed: the run shows nothing"
    );
}

/// Processes that compete for a lock.
struct Run<'a> {
    strategy: &'a str,
    endpoint: &'a str,
    bucket: &'a str,
    /// For how long a process is stopped.
    stop: std::ops::Range<Duration>,
    /// Writes of holders of the past that it sees at least: with fewer it would show little.
    refused: usize,
}

impl Run<'_> {
    /// Kills and stops processes until there were enough sections and enough faults.
    async fn under_attack(&self, seed: u64, sections: usize) -> Count {
        let mut rng = StdRng::seed_from_u64(seed);
        let (resource, address) = Resource::start().await;
        let mut workers: Vec<_> = (0..PROCESSES).map(|_| self.worker(&address)).collect();
        let started = Instant::now();
        let (mut kills, mut stops, mut longest) = (0, 0, Duration::ZERO);
        resource.progress(Duration::from_secs(60)).await;
        while kills.min(stops) < FAULTS
            || resource.count().accepted < sections
            || resource.count().refused < self.refused
        {
            assert!(
                started.elapsed() < Duration::from_secs(900),
                "{}",
                resource.count()
            );
            sleep(Duration::from_millis(rng.random_range(100..800))).await;
            let is_kill: bool = rng.random();
            let chosen = rng.random_range(0..PROCESSES);
            // Whoever is in its critical section is stopped, and killed every second time, if that is to be seen.
            let inside = resource.inside().filter(|_| !is_kill || rng.random());
            let victim = inside.and_then(|pid| workers.iter().position(|one| one.pid() == pid));
            let victim = &mut workers[victim.unwrap_or(chosen)];
            if is_kill {
                victim.kill().unwrap();
                let waited = resource.progress(TIMEOUT + Duration::from_secs(2)).await;
                longest = longest.max(waited);
                *victim = self.worker(&address);
                kills += 1;
            } else {
                let pause = rng.random_range(self.stop.clone());
                victim.pause().unwrap();
                sleep(pause).await;
                victim.resume().unwrap();
                resource.progress(TIMEOUT + Duration::from_secs(2)).await;
                stops += 1;
            }
        }
        for worker in &workers {
            assert!(worker.exit_status().is_none(), "{}", worker.log().text());
        }
        let count = resource.count();
        let took = started.elapsed();
        println!(
            "{}: {count}; {kills} kills, {stops} stops; after a kill the next one was inside within {longest:?}; {took:?}",
            self.strategy
        );
        count
    }

    /// Lets them compete, without any fault, until something is wrong or there were enough sections.
    async fn until_it_fails(&self, sections: usize) -> Count {
        let (resource, address) = Resource::start().await;
        let _workers: Vec<_> = (0..PROCESSES).map(|_| self.worker(&address)).collect();
        let within = Duration::from_secs(300);
        let count = eventually("something to go wrong", within, async || {
            let count = resource.count();
            let is_over = count.twins > 0 || count.accepted >= sections;
            anyhow::ensure!(is_over, "{count}");
            Ok(count)
        });
        let count = count.await.unwrap();
        println!("without conditions: {count}");
        count
    }

    fn worker(&self, resource: &str) -> Process {
        Launch::new("worker", std::env::current_exe().unwrap())
            .args([
                "worker",
                self.strategy,
                self.endpoint,
                self.bucket,
                resource,
            ])
            .spawn()
            .unwrap()
    }
}
