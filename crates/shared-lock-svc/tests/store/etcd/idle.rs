//! What waiting costs etcd.

use std::time::Duration;

use testbed::Etcd;
use tokio::time::sleep;

use super::replica;
use crate::contract::{holds, waits};

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

/// Ranges, puts, deletes and transactions that etcd has done.
async fn work(etcd: &Etcd) -> Vec<String> {
    let metrics = reqwest::get(format!("{}/metrics", etcd.endpoint()))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let counters = [
        "etcd_mvcc_range_total",
        "etcd_mvcc_put_total",
        "etcd_mvcc_delete_total",
        "etcd_mvcc_txn_total",
    ];
    let lines = metrics
        .lines()
        .filter(|line| counters.iter().any(|name| line.starts_with(name)));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    assert_eq!(lines.len(), counters.len(), "{lines:?}");
    lines
}
