//! What waiting costs etcd.

use std::time::Duration;

use etcd_client::AlarmAction;
use testbed::Etcd;
use tokio::time::sleep;

use super::{connect, full::alarm, plain, replica};
use crate::contract::{acquired, holds, release, waits};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_idle_waiters_read_and_write_nothing_in_etcd() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let mut waiters = Vec::new();
    for lock in 0..10 {
        holds(&store, &format!("idle {lock}"), "holder").await;
        for place in 0..10 {
            waiters.push(
                waits(
                    &store,
                    &format!("idle {lock}"),
                    &format!("{place}"),
                    Duration::from_secs(60),
                )
                .await,
            );
        }
    }
    let before = work(&etcd).await;
    // Long enough for every periodic duty of the store, and shorter than TTL/3 of the waiters' leases.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(work(&etcd).await, before);
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
}

/// etcd tells no progress to a watch that begins after its last revision. A full one takes no put, not
/// even the one that says that a replica is alive: nothing is written after the listing.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_an_etcd_where_nothing_happens_goes_on_watching() {
    let etcd = Etcd::start().await.unwrap();
    let _first = replica(etcd.endpoint()).await;
    let mut client = plain(&etcd).await;
    alarm(&mut client, AlarmAction::Activate).await;
    let _late = connect(&[etcd.endpoint()]).await;
    sleep(Duration::from_secs(1)).await;
    let started = r#"grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb"#;
    let watches = async || counters(&etcd, &[started]).await;
    let before = watches().await;
    // Longer than a watch may be silent.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(watches().await, before);
}

/// etcd may put a key on a lease that has run out and is about to be revoked.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_that_it_holds_before_its_lease_was_confirmed() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let before = renewals(&etcd).await;
    for round in 1..=50 {
        let first = holds(&store, "confirmed", "first").await;
        let waiter = waits(&store, "confirmed", "second", Duration::from_secs(60)).await;
        assert!(release(&store, "confirmed", &first).await);
        let second = acquired(waiter.await.unwrap());
        assert!(
            renewals(&etcd).await >= before + 2 * round,
            "each tenure by a renewal of its own"
        );
        assert!(release(&store, "confirmed", &second).await);
    }
    // Those of the replica's own life come about once a second.
    assert!(renewals(&etcd).await < before + 2 * 50 + 50);
}

async fn renewals(etcd: &Etcd) -> u64 {
    let lines = counters(etcd, &["etcd_debugging_lease_renewed_total"]).await;
    lines[0].rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Ranges, puts, deletes and transactions that etcd has done.
async fn work(etcd: &Etcd) -> Vec<String> {
    let names = [
        "etcd_mvcc_range_total",
        "etcd_mvcc_put_total",
        "etcd_mvcc_delete_total",
        "etcd_mvcc_txn_total",
    ];
    counters(etcd, &names).await
}

async fn counters(etcd: &Etcd, names: &[&str]) -> Vec<String> {
    let metrics = reqwest::get(format!("{}/metrics", etcd.endpoint()))
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let lines = metrics
        .lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    assert_eq!(lines.len(), names.len(), "{lines:?}");
    lines
}
