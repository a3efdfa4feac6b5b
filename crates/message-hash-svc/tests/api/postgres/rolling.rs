//! Several replicas of the service on one database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use message_hash_svc::digest::Digest;
use testbed::{Postgres, eventually};

use super::{MESSAGES, ROLE, app, command, prepare, primary, said, url};
use crate::app::{App, Caller, message};

/// How often a call goes to the next replica, before it has failed.
const TRIES: usize = 4;

/// Callers behind a round-robin: each call goes to the next replica, and once more to the one after
/// when that did not answer.
#[derive(Clone)]
struct Balanced {
    callers: Vec<Caller>,
    turn: Arc<AtomicUsize>,
}

impl Balanced {
    fn new(apps: &[App]) -> Self {
        Self {
            callers: apps.iter().map(App::caller).collect(),
            turn: Arc::default(),
        }
    }

    /// The replica whose turn it is, and then the ones after it, in order.
    fn in_turn(&self) -> impl Iterator<Item = &Caller> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let from_here = self.callers.iter().cycle();
        from_here.skip(turn % self.callers.len()).take(TRIES)
    }

    async fn keep(&self, text: &str) -> Digest {
        let mut refused = Vec::new();
        for caller in self.in_turn() {
            match caller.keep(text).await {
                Ok(digest) => return digest,
                Err(fault) => refused.push(fault),
            }
        }
        panic!("no replica kept it: {refused:?}");
    }

    async fn expect(&self, digest: &Digest, text: &str) {
        let mut refused = Vec::new();
        for caller in self.in_turn() {
            match caller.look_up(digest).await {
                // Whoever does not know may say so; whoever says "not found" is wrong.
                Ok(answer) if answer.status != 503 => return assert_eq!(answer, message(text)),
                other => refused.push(other),
            }
        }
        panic!("no replica gave it back: {refused:?}");
    }

    /// Posts on one replica and gets on the next, until told to end; tells how often.
    fn load(
        &self,
        name: &'static str,
        end: &Arc<AtomicBool>,
        done: &Arc<AtomicUsize>,
    ) -> tokio::task::JoinHandle<usize> {
        let (balanced, end, done) = (self.clone(), Arc::clone(end), Arc::clone(done));
        tokio::spawn(async move {
            let mut count = 0;
            while !end.load(Ordering::Relaxed) {
                let text = format!("{name} {count}");
                let digest = balanced.keep(&text).await;
                balanced.expect(&digest, &text).await;
                count += 1;
                done.fetch_add(1, Ordering::Relaxed);
            }
            count
        })
    }
}

async fn more(done: &AtomicUsize, by: usize) {
    let enough = done.load(Ordering::Relaxed) + by;
    eventually(
        "calls to be answered",
        Duration::from_secs(60),
        async || {
            let count = done.load(Ordering::Relaxed);
            (count >= enough).then_some(()).ok_or(count)
        },
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_kept_the_other_gives_back_also_while_one_is_killed() {
    let primary = primary().await;
    let apps = [app(&url(&primary)).await, app(&url(&primary)).await];
    let balanced = Balanced::new(&apps);
    let (end, done) = (Arc::default(), Arc::default());
    let loads: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| balanced.load(name, &end, &done))
        .into();
    more(&done, 100).await;
    for app in &apps {
        app.service.kill().unwrap();
        more(&done, 50).await;
        app.service.restart().await.unwrap();
        more(&done, 50).await;
    }
    end.store(true, Ordering::Relaxed);
    let mut kept = 0;
    for load in loads {
        kept += load.await.unwrap();
    }
    let rows = primary.sql(MESSAGES).await.unwrap();
    assert!(
        rows.parse::<usize>().unwrap() >= kept && kept >= 300,
        "{rows} {kept}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_under_load_and_a_rolling_restart_fail_no_call() {
    let primary = Postgres::start().await.unwrap();
    prepare(&primary, &["--to", "1"]).await;
    let apps = [app(&url(&primary)).await, app(&url(&primary)).await];
    let balanced = Balanced::new(&apps);
    let (end, done) = (Arc::default(), Arc::default());
    let loads: Vec<_> = ["a", "b"]
        .map(|name| balanced.load(name, &end, &done))
        .into();
    more(&done, 50).await;
    let owner = primary.url();
    let migrated = command(&["migrate", "--url", &owner, "--grant", ROLE], &[]).await;
    assert_eq!(said(&migrated), "database has schema version 2\n");
    more(&done, 50).await;
    for app in &apps {
        assert!(app.service.terminate().await.unwrap().success());
        app.service.restart().await.unwrap();
        more(&done, 50).await;
    }
    end.store(true, Ordering::Relaxed);
    for load in loads {
        assert!(load.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_again_and_again_loses_nothing_that_was_answered() {
    let primary = primary().await;
    let app = app(&url(&primary)).await;
    let mut kept = Vec::new();
    for round in 0..3 {
        let crash = async {
            tokio::task::yield_now().await;
            primary.crash().await.unwrap();
        };
        let posts = async {
            let mut round_kept = Vec::new();
            for number in 0..1000 {
                let text = format!("{round} {number}");
                match app.caller().keep(&text).await {
                    Ok(digest) => round_kept.push((digest, text)),
                    Err(_) => break,
                }
            }
            round_kept
        };
        let (round_kept, ()) = tokio::join!(posts, crash);
        kept.extend(round_kept);
        primary.restart().await.unwrap();
        eventually(
            "the service to go on",
            Duration::from_secs(20),
            async || app.caller().keep("again").await.map(drop),
        )
        .await
        .unwrap();
        for (digest, text) in &kept {
            super::expect(&app, digest, text).await;
        }
    }
}
