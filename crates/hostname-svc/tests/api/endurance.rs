//! Callers that never rest, while one replica after the other is killed.
//!
//! The suite runs it for a few seconds. For a minute with 400 callers at each of the three replicas:
//! `HOSTNAME_ENDURANCE_SECONDS=60 HOSTNAME_ENDURANCE_CALLERS=400 cargo test --package hostname-svc --test api endurance -- --nocapture`

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Client;
use serde_json::Value;
use testbed::RunningService;

use crate::{
    app::{Answer, wish},
    stage::{Stage, client},
    vault::Vault,
};

const BASE: &str = "endurance";
/// From one kill to the next.
const BETWEEN_KILLS: Duration = Duration::from_secs(5);
/// How long a caller asks again and again.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries of a caller.
const PAUSE: Duration = Duration::from_millis(50);

/// What all callers share.
struct Crowd<'a> {
    client: Client,
    replicas: &'a [RunningService],
    over: AtomicBool,
    retried: AtomicUsize,
}

/// What one call was given, and how long it took.
struct Told {
    key: String,
    answer: Answer,
    took: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_killed_again_and_again_under_load_give_no_name_twice_and_leave_no_gap() {
    let (seconds, callers) = (
        asked("HOSTNAME_ENDURANCE_SECONDS", 11),
        asked("HOSTNAME_ENDURANCE_CALLERS", 40),
    );
    let stage = Stage::set().await;
    let replicas = stage.replicas(BASE).await;
    let crowd = Crowd {
        client: client(),
        replicas: &replicas,
        over: AtomicBool::new(false),
        retried: AtomicUsize::new(0),
    };
    let calls = join_all((0..callers * 3).map(|caller| crowd.call_until_over(caller)));
    let kills = crowd.kill_for(Duration::from_secs(seconds as u64));
    let started = Instant::now();
    let (told, kills) = tokio::join!(calls, kills);
    let took = started.elapsed();
    let told: Vec<Told> = told.into_iter().flatten().collect();

    let skipped = check(&Vault::of(&stage.bao), &told).await;
    let slowest = told.iter().map(|told| told.took).max().unwrap();
    println!(
        "{} names in {took:?} ({:.0} a second) for {} callers at 3 replicas; {kills} kills, {} calls repeated, \
         the slowest answered after {slowest:?}; {skipped} numbers skipped",
        told.len(),
        told.len() as f64 / took.as_secs_f64(),
        callers * 3,
        crowd.retried.load(Ordering::Relaxed),
    );
    assert!(kills >= 2);
    let retried = crowd.retried.into_inner();
    assert_ne!(retried, 0, "no kill met a caller: the run shows nothing");
}

impl Crowd<'_> {
    async fn call_until_over(&self, caller: usize) -> Vec<Told> {
        let mut told = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            let key = format!("{caller}-{}", told.len());
            let started = Instant::now();
            let answer = self.call(caller, &key).await;
            let took = started.elapsed();
            told.push(Told { key, answer, took });
        }
        told
    }

    /// Asks replica after replica, with the same key, until one answers.
    async fn call(&self, caller: usize, key: &str) -> Answer {
        let started = Instant::now();
        for replica in self.replicas.iter().cycle().skip(caller % 3) {
            match self.ask(replica, key).await {
                Some(answer) if answer.status.is_success() => return answer,
                refused => assert!(started.elapsed() < PATIENCE, "{key}: {refused:?}"),
            }
            self.retried.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("there are replicas")
    }

    async fn ask(&self, replica: &RunningService, key: &str) -> Option<Answer> {
        let request = self
            .client
            .post(format!("{}/v1/hostnames", replica.url()))
            .json(&wish("splunk", "web", "dev"))
            .header("idempotency-key", key);
        let answer = Answer::if_whole(&self.client, request).await?;
        let expected = answer.status.is_success() || answer.status == 503;
        assert!(expected, "{answer:?}");
        Some(answer)
    }

    /// Kills one replica after the other and starts it again, and gives how many it were.
    async fn kill_for(&self, time: Duration) -> usize {
        let started = Instant::now();
        let mut kills = 0;
        let mut next = tokio::time::interval(BETWEEN_KILLS);
        next.tick().await;
        while started.elapsed() + BETWEEN_KILLS <= time {
            next.tick().await;
            self.replicas[kills % 3].restart().await.unwrap();
            kills += 1;
        }
        tokio::time::sleep(time.saturating_sub(started.elapsed())).await;
        self.over.store(true, Ordering::Relaxed);
        kills
    }
}

/// No name twice, a record for each answer, an answer for each record, and no number without one of
/// them; gives how many numbers are skipped.
async fn check(vault: &Vault, told: &[Told]) -> usize {
    let mut names: HashMap<&str, &str> = HashMap::new();
    for Told { key, answer, .. } in told {
        let other = names.insert(answer.hostname(), key);
        assert_eq!(other, None, "{} was given twice", answer.hostname());
    }
    let facts = |it: &Value| {
        (
            it["hostname"].clone(),
            it["counter"].clone(),
            it["request_id"].clone(),
        )
    };
    let records = vault.records(BASE).await;
    let recorded: BTreeMap<String, _> = records
        .iter()
        .map(|it| (it["hostname"].as_str().unwrap().to_owned(), facts(it)))
        .collect();
    let answered: BTreeMap<String, _> = told
        .iter()
        .map(|told| (told.answer.hostname().to_owned(), facts(&told.answer.body)))
        .collect();
    assert_eq!(recorded, answered);
    let owners: BTreeSet<_> = records
        .iter()
        .map(|it| it["owner"]["key"].as_str().unwrap())
        .collect();
    assert_eq!(owners.len(), told.len(), "a key has two records");

    let counter = vault.counter(BASE).await;
    let mut explained: Vec<u64> = records
        .iter()
        .map(|it| it["counter"].as_u64().unwrap())
        .collect();
    explained.extend(counter.skipped_numbers());
    explained.sort_unstable();
    assert_eq!(explained, (1..=counter.value).collect::<Vec<_>>());
    let duplicates = counter.skipped.values().all(|it| it["why"] == "duplicate");
    assert!(duplicates, "{counter:?}");
    counter.skipped.len()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a test runs is no setting of a service"
)]
fn asked(variable: &str, otherwise: usize) -> usize {
    match std::env::var(variable) {
        Ok(number) => number.parse().unwrap(),
        Err(_) => otherwise,
    }
}
