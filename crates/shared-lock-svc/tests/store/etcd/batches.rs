//! Under load proposals ride together; what one of them does wrong hurts no other.

use futures_util::future::join_all;
use shared_lock_svc::{
    lease::{AcquireRequest, Acquisition, Tenure},
    store::StoreError,
};
use testbed::Etcd;

use super::replica;
use crate::contract::{Store, acquired, release, request};

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_few_transactions() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let before = transactions(&etcd).await;
    let tenures = all(&store, 200, |one| request(&format!("{one}"), "holder")).await;
    let tenures: Vec<Tenure> = tenures.into_iter().map(acquired).collect();
    let releases = tenures.iter().enumerate().map(|(one, tenure)| {
        let store = Store::clone(&store);
        async move { release(&store, &format!("{one}"), tenure).await }
    });
    assert!(
        join_all(releases)
            .await
            .into_iter()
            .all(|released| released)
    );
    let made = transactions(&etcd).await - before;
    assert!(made < 120, "400 proposals were {made} transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_on_one_lock_are_one_after_the_other() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    for round in 0..10 {
        let key = format!("{round}");
        let outcomes = all(&store, 50, |_| request(&key, "holder")).await;
        let won: Vec<_> = outcomes
            .into_iter()
            .filter_map(|outcome| match outcome.unwrap() {
                Acquisition::Acquired(tenure) => Some(tenure),
                Acquisition::Held(_) => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(won.len(), 1);
        assert!(release(&store, &key, &won[0]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_etcd_refuses_is_refused_to_its_caller_alone() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let sizes = |one: usize| match one % 10 {
        // Larger than etcd takes, larger than travels in company, and the usual.
        0 => 1_600 << 10,
        1 => 100 << 10,
        _ => 10,
    };
    let outcomes = all(&store, 30, |one| AcquireRequest {
        value: "v".repeat(sizes(one)),
        ..request(&format!("{one}"), "holder")
    });
    for (one, outcome) in outcomes.await.into_iter().enumerate() {
        match one % 10 {
            0 => assert!(
                matches!(outcome, Err(StoreError::Refused(_))),
                "{outcome:?}"
            ),
            _ => drop(acquired(outcome)),
        }
    }
}

/// Acquires that many at once.
async fn all(
    store: &Store,
    count: usize,
    asked: impl Fn(usize) -> AcquireRequest,
) -> Vec<Result<Acquisition, StoreError>> {
    let outcomes = (0..count).map(|one| {
        let (store, asked) = (Store::clone(store), asked(one));
        async move { store.acquire(asked).await }
    });
    join_all(outcomes).await
}

/// Transactions that etcd was asked for.
async fn transactions(etcd: &Etcd) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", etcd.endpoint()))
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let txns = metrics
        .lines()
        .filter(|line| line.starts_with("grpc_server_handled_total") && line.contains("\"Txn\""));
    txns.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum()
}
