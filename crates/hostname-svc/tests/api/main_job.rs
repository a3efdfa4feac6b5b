//! The main job, end to end: replicas that are processes of their own, a real etcd, a real Vault API.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::{AtomicUsize, Ordering},
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

/// A thousand for one prefix, two hundred for another.
const CALLS: usize = 1200;

/// How long a machine may be too slow to answer all.
const LONG: Duration = Duration::from_secs(120);

fn body(call: usize) -> Value {
    match call % 6 {
        0 => wish("other", "db", "prod"),
        _ => wish("splunk", "web", "dev"),
    }
}

/// Each prefix is asked of each replica.
fn first_replica(call: usize) -> usize {
    (call + call / 6) % 3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_at_once_on_three_replicas_get_a_thousand_names_without_a_gap() {
    let stage = Stage::set().await;
    let replicas = stage.replicas("crowd").await;
    let client = client();
    let asked_again = AtomicUsize::new(0);
    let calls = (0..CALLS).map(|call| {
        let replica = &replicas[first_replica(call)];
        call_in_time(&client, replica, call, &asked_again)
    });
    let started = Instant::now();
    let answers = join_all(calls).await;
    println!(
        "1,200 calls at once were answered within {:?}, {} of them were told to come again",
        started.elapsed(),
        asked_again.into_inner()
    );
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| !answer.status.is_success())
        .collect();
    assert!(
        refused.is_empty(),
        "{} refused, the first: {:?}",
        refused.len(),
        refused[0]
    );
    check_names(&answers, "splunk", 1000);
    check_names(&answers, "other", 200);

    let records = Vault::of(&stage.bao).records("crowd").await;
    let recorded: BTreeSet<_> = records
        .iter()
        .map(|it| it["hostname"].as_str().unwrap())
        .collect();
    let told: BTreeSet<_> = answers.iter().map(Answer::hostname).collect();
    assert_eq!(records.len(), 1200);
    assert_eq!(recorded, told);
}

/// The counters of an application are 1 to `count`, and all of its names are different.
fn check_names(answers: &[Answer], application: &str, count: u64) {
    let own = answers
        .iter()
        .filter(|answer| answer.body["application"] == application);
    let mut counters: Vec<_> = own.clone().map(Answer::counter).collect();
    counters.sort_unstable();
    assert_eq!(counters, (1..=count).collect::<Vec<_>>());
    assert_eq!(
        own.map(Answer::hostname).collect::<BTreeSet<_>>().len() as u64,
        count
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_killed_in_the_middle_costs_no_name_and_leaves_no_gap() {
    let stage = Stage::set().await;
    let replicas = stage.replicas("killed").await;
    let client = client();
    let retried = AtomicUsize::new(0);
    let calls = (0..CALLS).map(|call| {
        let (client, replicas, retried) = (&client, &replicas, &retried);
        async move {
            (
                call,
                call_until_answered(client, replicas, call, retried).await,
            )
        }
    });
    let kill = async {
        let client = &client;
        let doomed = format!("{}/metrics", replicas[0].url());
        let busy = testbed::eventually("its first names", Duration::from_secs(60), async || {
            let text = client.get(&doomed).send().await?.text().await?;
            anyhow::ensure!(
                text.contains(r#"hostname_allocations_total{result="created"}"#),
                "none yet"
            );
            Ok(())
        });
        busy.await.unwrap();
        replicas[0].kill().unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(calls), kill);
    assert_ne!(
        retried.into_inner(),
        0,
        "the replica had answered everybody before it was killed"
    );

    let mut owners: HashMap<String, usize> = HashMap::new();
    for (call, answer) in &answers {
        let other = owners.insert(answer.hostname().to_owned(), *call);
        assert_eq!(other, None, "{} was given twice", answer.hostname());
    }
    // Each key is asked once more, elsewhere: it gets the name that it got.
    let again = answers
        .iter()
        .map(|(call, _)| ask(&client, &replicas[1 + call % 2], *call));
    for ((call, first), again) in answers.iter().zip(join_all(again).await) {
        assert_eq!(again.unwrap().body, first.body, "call {call}");
    }
    let vault = Vault::of(&stage.bao);
    check_explained(&vault, "splunk", "splunk/web/dev", 1000).await;
    check_explained(&vault, "other", "other/db/prod", 200).await;
}

/// Asks one replica until it has an answer: where it is too busy to have one in its time, it is asked again
/// when it says, with the same key, as its callers are told.
async fn call_in_time(
    client: &Client,
    replica: &RunningService,
    call: usize,
    asked_again: &AtomicUsize,
) -> Answer {
    let deadline = Instant::now() + LONG;
    loop {
        let request = client.post(format!("{}/v1/hostnames", replica.url()));
        let request = request
            .json(&body(call))
            .header("idempotency-key", format!("call-{call}"));
        let answer = Answer::if_whole(client, request).await.unwrap();
        if answer.status != 503 || Instant::now() > deadline {
            return answer;
        }
        let seconds = answer.header("retry-after").unwrap().parse().unwrap();
        asked_again.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

async fn ask(client: &Client, replica: &RunningService, call: usize) -> Option<Answer> {
    let request = client.post(format!("{}/v1/hostnames", replica.url()));
    let request = request
        .json(&body(call))
        .header("idempotency-key", format!("call-{call}"));
    let answer = Answer::if_whole(client, request).await?;
    (answer.status != 503).then_some(answer)
}

/// Asks replica after replica, with the same key, until one answers.
async fn call_until_answered(
    client: &Client,
    replicas: &[RunningService],
    call: usize,
    retried: &AtomicUsize,
) -> Answer {
    for replica in replicas.iter().cycle().skip(first_replica(call)).take(30) {
        if let Some(answer) = ask(client, replica, call).await {
            return answer;
        }
        retried.fetch_add(1, Ordering::Relaxed);
    }
    panic!("call {call} was never answered");
}

/// Each number has a record or is skipped, and each key has one record.
async fn check_explained(vault: &Vault, application: &str, prefix: &str, keys: usize) {
    let counter = vault.counter_of("killed", prefix).await;
    let mut records = vault.records("killed").await;
    records.retain(|record| record["application"] == application);
    let owners: BTreeSet<_> = records
        .iter()
        .map(|it| it["owner"]["key"].as_str().unwrap())
        .collect();
    assert_eq!((records.len(), owners.len()), (keys, keys));
    let mut numbers: Vec<_> = records
        .iter()
        .map(|it| it["counter"].as_u64().unwrap())
        .collect();
    assert!(
        counter
            .skipped
            .values()
            .all(|skip| skip["why"] == "duplicate"),
        "{counter:?}"
    );
    numbers.extend(counter.skipped_numbers());
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=counter.value).collect::<Vec<_>>());
}
