//! Tenure leases are granted before anybody asks for them, and serve one tenure each.

use std::{collections::HashSet, time::Duration};

use anyhow::ensure;
use etcd_client::Client;
use futures_util::future::join_all;
use testbed::{Etcd, eventually};

use super::{plain, replica};
use crate::contract::{Store, acquired, holds, release, request};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn every_tenure_has_a_lease_of_its_own() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let mut leases = HashSet::new();
    for round in 0..5 {
        let tenures = join_all((0..100).map(|one| {
            let store = Store::clone(&store);
            async move { holds(&store, &format!("{round} {one}"), "holder").await }
        }));
        for tenure in tenures.await {
            assert!(leases.insert(tenure.lease_id.0), "a lease served twice");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_there_before_it_is_asked_for_and_goes_when_the_store_closes() {
    let etcd = Etcd::start().await.unwrap();
    let mut client = plain(&etcd).await;
    let store = replica(etcd.endpoint()).await;
    let first = holds(&store, "first", "holder").await;
    let spares = async |mut client: Client| {
        let keep = replicas(&mut client).await;
        let mut leases = leases(&mut client).await;
        leases.retain(|lease| *lease != first.lease_id.0 && !keep.contains(lease));
        leases
    };
    eventually("spares are granted", PATIENCE, async || {
        let spares = spares(client.clone()).await;
        ensure!(spares.len() >= 2, "{spares:?}");
        Ok(())
    })
    .await
    .unwrap();
    let spares = spares(client.clone()).await;
    let second = holds(&store, "second", "holder").await;
    assert!(spares.contains(&second.lease_id.0));
    store.close().await;
    // What is held is the holders' business.
    let held = HashSet::from([first.lease_id.0, second.lease_id.0]);
    assert_eq!(leases(&mut client).await, held);
}

#[tokio::test(flavor = "multi_thread")]
async fn spares_follow_demand_up_and_down() {
    let etcd = Etcd::start().await.unwrap();
    let mut client = plain(&etcd).await;
    let store = replica(etcd.endpoint()).await;
    let mut most = 0;
    for round in 0..20 {
        let tenures = join_all((0..64).map(|one| {
            let store = Store::clone(&store);
            async move {
                let key = format!("{round} {one}");
                let tenure = holds(&store, &key, "holder").await;
                assert!(release(&store, &key, &tenure).await);
            }
        }));
        tenures.await;
        most = most.max(leases(&mut client).await.len());
    }
    assert!(most > 20, "there were never more than {most} leases");
    eventually("few spares are left", PATIENCE, async || {
        let leases = leases(&mut client.clone()).await;
        ensure!(leases.len() <= 6, "{} leases", leases.len());
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spares_that_died_are_given_to_nobody() {
    let etcd = Etcd::start().await.unwrap();
    let mut client = plain(&etcd).await;
    let store = replica(etcd.endpoint()).await;
    for round in 0..10 {
        let key = format!("round {round}");
        let held = holds(&store, &key, "holder").await;
        let keep = replicas(&mut client).await;
        for lease in leases(&mut client).await {
            if lease != held.lease_id.0 && !keep.contains(&lease) {
                // A spare may be revoked by the store itself meanwhile.
                let _ = client.lease_revoke(lease).await;
            }
        }
        let next = acquired(
            store
                .acquire(request(&format!("after {round}"), "holder"))
                .await,
        );
        assert!(leases(&mut client).await.contains(&next.lease_id.0));
    }
}

async fn leases(client: &mut Client) -> HashSet<i64> {
    let leases = client.leases().await.unwrap();
    leases.leases().iter().map(|lease| lease.id()).collect()
}

/// The leases that say that a replica is alive.
async fn replicas(client: &mut Client) -> HashSet<i64> {
    let prefix = etcd_client::GetOptions::new().with_prefix();
    let replicas = client.get("/shared-lock-replica/", Some(prefix)).await;
    replicas
        .unwrap()
        .kvs()
        .iter()
        .map(|kv| kv.lease())
        .collect()
}
