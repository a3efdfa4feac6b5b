//! Keepalives share a few streams, on which etcd answers one after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use etcd_client::Client;
use futures_util::{StreamExt, future::join_all, stream};
use shared_lock_svc::lease::LeaseId;
use testbed::{Etcd, eventually};
use tokio::time::sleep;

use super::{plain, replica};

/// etcd revokes a thousand leases a second, and does not say that a lease is gone before that.
const DYING: usize = 2_500;

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_ran_out_do_not_hold_up_the_keepalives_of_others() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let client = plain(&etcd).await;
    let living = grant(&client, 60).await;
    let dying: Vec<LeaseId> = stream::iter(0..DYING)
        .map(|_| grant(&client, 5))
        .buffered(64)
        .collect()
        .await;
    etcd.pause().unwrap();
    sleep(Duration::from_secs(6)).await;
    etcd.resume().unwrap();
    eventually("etcd answers again", Duration::from_secs(5), async || {
        store
            .keep_lease_alive(living)
            .await
            .map_err(anyhow::Error::from)
    })
    .await
    .unwrap();

    let ask = |lease| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let asked = Instant::now();
            let answer = store.keep_lease_alive(lease).await;
            (answer, asked.elapsed())
        })
    };
    // Those that are revoked last, one for each stream at least.
    let last: Vec<_> = dying
        .iter()
        .rev()
        .take(16)
        .map(|lease| ask(*lease))
        .collect();
    let mut worst = Duration::ZERO;
    while !last.iter().all(|asked| asked.is_finished()) {
        for asked in join_all((0..32).map(|_| ask(living))).await {
            let (answer, took) = asked.unwrap();
            assert_eq!(answer.unwrap().unwrap().ttl, Duration::from_secs(60));
            worst = worst.max(took);
        }
    }
    let mut longest = Duration::ZERO;
    for asked in last {
        longest = longest.max(asked.await.unwrap().1);
    }
    assert!(
        longest > Duration::from_secs(1),
        "etcd was faster than thought: {longest:?}"
    );
    assert!(
        worst + Duration::from_millis(500) < longest,
        "a keepalive took {worst:?} behind others that took {longest:?}"
    );
}

async fn grant(client: &Client, ttl: i64) -> LeaseId {
    LeaseId(client.lease_client().grant(ttl, None).await.unwrap().id())
}
