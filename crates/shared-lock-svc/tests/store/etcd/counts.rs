//! What an acquire costs etcd, by etcd's own counters.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use futures_util::future::join_all;
use testbed::{Etcd, eventually};
use tokio::time::sleep;
use uuid::Uuid;

use super::replica;
use crate::contract::{Store, holds, opens, release, request, takes, within};

const PATIENCE: Duration = Duration::from_secs(20);

/// Acquires in a run, some at a time.
const ACQUIRES: usize = 1_000;
const AT_A_TIME: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn an_acquire_in_a_session_is_one_proposal_and_one_round_trip() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let session = opens(&store, "holder").await;
    eventually("the session is known by the watch", PATIENCE, async || {
        let before = Counters::of(&etcd).await;
        let asked = within(&session, request(&Uuid::new_v4().to_string(), "holder"));
        takes(&store, asked).await;
        let spent = Counters::of(&etcd).await.since(&before);
        ensure!(spent.calls("Range") == 0, "{spent:?}");
        Ok(())
    })
    .await
    .unwrap();
    let before = Counters::of(&etcd).await;
    for run in 0..ACQUIRES / AT_A_TIME {
        let acquires = (0..AT_A_TIME).map(|one| {
            let store = Store::clone(&store);
            async move {
                takes(
                    &store,
                    within(&session, request(&format!("{run} {one}"), "holder")),
                )
                .await
            }
        });
        join_all(acquires).await;
    }
    let spent = Counters::of(&etcd).await.since(&before);
    println!("{ACQUIRES} acquires in a session: {spent:?}");
    assert!(spent.entries <= ACQUIRES + 10, "{spent:?}");
    assert!(spent.calls("Txn") <= ACQUIRES, "{spent:?}");
    for call in ["Range", "LeaseGrant", "LeaseRevoke", "LeaseTimeToLive"] {
        assert!(spent.calls(call) <= 10, "{call}: {spent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acquire_of_its_own_is_one_proposal_and_a_grant_and_a_revocation_beside() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    holds(&store, "first", "holder").await;
    let before = Counters::of(&etcd).await;
    let rounds = ACQUIRES / AT_A_TIME;
    for run in 0..rounds {
        let acquires = (0..AT_A_TIME).map(|one| {
            let (store, key) = (Store::clone(&store), format!("{run} {one}"));
            async move {
                let tenure = holds(&store, &key, "holder").await;
                assert!(release(&store, &key, &tenure).await);
            }
        });
        join_all(acquires).await;
    }
    // Until the last leases are revoked.
    sleep(Duration::from_secs(2)).await;
    let spent = Counters::of(&etcd).await.since(&before);
    println!("{ACQUIRES} acquires and releases: {spent:?}");
    // Spares are granted ahead, and those beyond demand revoked.
    let spares = 600;
    assert!(spent.entries <= 4 * ACQUIRES + spares, "{spent:?}");
    assert!(spent.calls("Txn") <= 2 * ACQUIRES, "{spent:?}");
    assert!(spent.calls("LeaseGrant") <= ACQUIRES + spares, "{spent:?}");
    for call in ["Range", "LeaseTimeToLive"] {
        assert!(spent.calls(call) <= 10, "{call}: {spent:?}");
    }
}

/// Entries in etcd's log, and calls by their names.
#[derive(Debug)]
struct Counters {
    entries: usize,
    calls: BTreeMap<String, usize>,
}

impl Counters {
    async fn of(etcd: &Etcd) -> Self {
        let metrics = reqwest::get(format!("{}/metrics", etcd.endpoint()))
            .await
            .unwrap();
        let metrics = metrics.text().await.unwrap();
        let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as usize;
        let mut counters = Self {
            entries: 0,
            calls: BTreeMap::new(),
        };
        for line in metrics.lines() {
            if line.starts_with("etcd_server_proposals_applied_total") {
                counters.entries = value(line);
            } else if line.starts_with("grpc_server_handled_total") {
                let method = line.split("grpc_method=\"").nth(1).unwrap();
                let method = method.split('"').next().unwrap().to_owned();
                *counters.calls.entry(method).or_default() += value(line);
            }
        }
        assert!(counters.entries > 0);
        counters
    }

    fn since(&self, before: &Self) -> Self {
        let calls = self
            .calls
            .iter()
            .map(|(call, count)| (call.clone(), count - before.calls(call)));
        Self {
            entries: self.entries - before.entries,
            calls: calls.filter(|(_, count)| *count > 0).collect(),
        }
    }

    fn calls(&self, call: &str) -> usize {
        self.calls.get(call).copied().unwrap_or_default()
    }
}
