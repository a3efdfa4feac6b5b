//! Entries and lives that ended where nobody looked.

use std::{collections::BTreeMap, time::Duration};

use etcd_client::{GetOptions, PutOptions};
use shared_lock_svc::lease::{AcquireRequest, Acquisition};
use testbed::{Etcd, eventually};
use tokio::time::{sleep, timeout};

use super::{IdleReplica, entries_of, kill_lease_of, plain, replica, shared};
use crate::contract::{
    acquired, comes_soon, holds, key, queued, release, request, start, until, waits,
};

const LONG: Duration = Duration::from_secs(50);

/// A waiter whose tenure lease is dead must not block the releaser, nor those behind it.
#[tokio::test]
async fn a_waiter_whose_lease_is_dead_is_passed_over() {
    let etcd = shared().await;
    let (here, there) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    let mut client = plain(etcd).await;
    let tenure = holds(&here, "passed", "first").await;
    let dead = waits(&there, "passed", "passed's dead", LONG).await;
    let heir = waits(&there, "passed", "heir", LONG).await;
    kill_lease_of(&mut client, "passed's dead").await;
    let released = timeout(Duration::from_secs(2), release(&here, "passed", &tenure));
    assert!(released.await.unwrap());
    comes_soon(heir).await;
    // It stands in the queue again, or its request failed: it was never told that it holds.
    assert!(!dead.is_finished() || dead.await.unwrap().is_err());
}

#[tokio::test]
async fn a_waiter_whose_lease_is_dead_is_passed_over_when_the_lock_expires() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let tenure = holds(&store, "expires", "first").await;
    let _dead = waits(&store, "expires", "expires's dead", LONG).await;
    let heir = waits(&store, "expires", "heir", LONG).await;
    kill_lease_of(&mut client, "expires's dead").await;
    client.lease_revoke(tenure.lease_id.0).await.unwrap();
    comes_soon(heir).await;
}

#[tokio::test]
async fn a_dead_waiter_alone_does_not_keep_a_lock_from_ending_or_from_the_next() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let tenure = holds(&store, "alone", "first").await;
    let dead = waits(&store, "alone", "alone's dead", Duration::from_secs(2)).await;
    kill_lease_of(&mut client, "alone's dead").await;
    assert!(
        timeout(Duration::from_secs(2), release(&store, "alone", &tenure))
            .await
            .unwrap()
    );
    let next = AcquireRequest {
        wait: Duration::from_secs(5),
        ..request("alone", "next")
    };
    acquired(store.acquire(next).await);
    drop(dead);
}

/// A waiter's lease dies while it waits and nothing else happens: its replica notices.
#[tokio::test]
async fn a_waiter_whose_lease_is_dead_leaves_the_queue_by_itself() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    holds(&store, "notices", "first").await;
    let asked = AcquireRequest {
        anchor: shared_lock_svc::lease::Anchor::Own(Duration::from_secs(3)),
        wait: LONG,
        ..request("notices", "notices's dead")
    };
    let dead = queued(&store, asked).await;
    kill_lease_of(&mut client, "notices's dead").await;
    let outcome = timeout(Duration::from_secs(4), dead)
        .await
        .unwrap()
        .unwrap();
    assert!(outcome.is_err(), "{outcome:?}");
    until(&store, "notices", "the queue is empty", |view| {
        view.waiters.is_empty()
    })
    .await;
}

/// A newcomer whose view is a moment behind must not overtake one that waits already.
#[tokio::test]
async fn a_newcomer_does_not_take_a_free_lock_that_somebody_waits_for() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let idle = IdleReplica::start(&mut client).await;
    for round in 0..20 {
        let name = format!("barge {round}");
        idle.wait_for(&mut client, &name).await;
        let outcome = store.acquire(request(&name, "newcomer")).await.unwrap();
        assert!(matches!(outcome, Acquisition::Held(_)), "{outcome:?}");
    }
}

/// Such an entry would stay for as long as its replica lives.
#[tokio::test]
async fn an_entry_of_this_replica_that_no_request_stands_behind_is_swept() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let first = holds(&store, "swept", "first").await;
    let waiter = waits(&store, "swept", "swept's waiter", LONG).await;
    let entry = entries_of(&mut client, "swept's waiter").await.remove(0);
    let stray = format!("{}/stray", entry.key.rsplit_once('/').unwrap().0);
    let tenure = client.lease_grant(60, None).await.unwrap().id();
    let mut record = entry.record;
    record["lease"] = tenure.to_string().into();
    let on_liveness = PutOptions::new().with_lease(entry.lease);
    client
        .put(stray, record.to_string(), Some(on_liveness))
        .await
        .unwrap();
    let took = until(&store, "swept", "the stray is swept", |view| {
        view.waiters.len() == 1
    })
    .await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(release(&store, "swept", &first).await);
    acquired(waiter.await.unwrap());
}

/// What a stop of the process for longer than its liveness does to the replica.
#[tokio::test]
async fn a_replica_that_lost_its_liveness_queues_its_waiters_again_and_takes_locks_again() {
    let etcd = shared().await;
    let (here, there) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    let mut client = plain(etcd).await;
    let tenure = holds(&there, "lost", "first").await;
    let waiter = waits(&here, "lost", "lost's waiter", LONG).await;
    let entry = entries_of(&mut client, "lost's waiter").await.remove(0);
    client.lease_revoke(entry.lease).await.unwrap();
    // The replica does not know of it yet; what it proposes under the life that is over is refused.
    let free = holds(&here, "lost-and-free", "holder").await;
    let alive = format!(
        "/shared-lock-replica/{}",
        entry.record["replica"].as_str().unwrap()
    );
    let alive = client.get(alive, None).await.unwrap();
    let since = alive.kvs()[0].create_revision();
    assert!(
        free.fencing_token.0.get() > since.try_into().unwrap(),
        "granted under its new life"
    );
    eventually(
        "the waiter is in the queue again",
        Duration::from_secs(4),
        async || {
            let again = entries_of(&mut client, "lost's waiter").await;
            let again = again.first().filter(|again| again.place > entry.place);
            again.map(|_| ()).ok_or("it is not")
        },
    )
    .await
    .unwrap();
    assert!(release(&there, "lost", &tenure).await);
    comes_soon(waiter).await;
}

#[tokio::test]
async fn a_store_that_is_dropped_is_dead_in_etcd_as_well() {
    let etcd = shared().await;
    let (here, there) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    let mut client = plain(etcd).await;
    holds(&there, "drop", "first").await;
    let waiter = waits(&here, "drop", "drop's waiter", LONG).await;
    let entry = entries_of(&mut client, "drop's waiter").await.remove(0);
    let alive = format!(
        "/shared-lock-replica/{}",
        entry.record["replica"].as_str().unwrap()
    );
    assert_eq!(client.get(alive.as_str(), None).await.unwrap().count(), 1);
    waiter.abort();
    drop(here);
    eventually("the replica is gone", Duration::from_secs(5), async || {
        let left = client.get(alive.as_str(), None).await.unwrap().count();
        if left == 0 {
            Ok(())
        } else {
            Err("it is there")
        }
    })
    .await
    .unwrap();
    until(&there, "drop", "its waiter is gone", |view| {
        view.waiters.is_empty()
    })
    .await;
}

/// etcd slows down when too many keys hang on one lease.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_five_hundred_waiters_sit_on_one_lease() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(&etcd).await;
    let tenure = holds(&store, "crowd", "first").await;
    let asked = || AcquireRequest {
        wait: LONG,
        ..request("crowd", "crowd's waiter")
    };
    let mut waiters = Vec::new();
    for so_far in (0..600).step_by(60) {
        waiters.extend((0..60).map(|_| start(&store, asked())));
        until(&store, "crowd", "sixty more wait", |view| {
            view.waiters.len() == so_far + 60
        })
        .await;
    }
    let mut seats = BTreeMap::new();
    for entry in entries_of(&mut client, "crowd's waiter").await {
        *seats.entry(entry.lease).or_insert(0) += 1;
    }
    assert_eq!(seats.values().sum::<i32>(), 600);
    assert!(
        seats.len() == 2 && seats.values().all(|taken| *taken <= 500),
        "{seats:?}"
    );
    for waiter in waiters {
        waiter.abort();
    }
    until(&store, "crowd", "all have left", |view| {
        view.waiters.is_empty()
    })
    .await;
    assert!(release(&store, "crowd", &tenure).await);
}

#[tokio::test]
async fn nothing_but_short_lived_notes_stays_of_a_lock_that_was_released() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(&etcd).await;
    let mut leases = 0;
    for round in 0..50 {
        let tenure = holds(&store, "note", "first").await;
        let waiter = waits(&store, "note", "second", LONG).await;
        assert!(release(&store, "note", &tenure).await);
        assert!(release(&store, "note", &acquired(waiter.await.unwrap())).await);
        if round == 0 {
            leases = settled_leases(&mut client, 0).await;
        }
    }
    // One liveness lease, one for what is remembered, and as many spares as a hundred tenures ask for.
    let spares = 8;
    let left = settled_leases(&mut client, leases + spares).await;
    assert!(
        left <= leases + spares,
        "releases leave leases behind: {left}"
    );
    let noted = [
        "/shared-lock-done/",
        "/shared-lock-ended/",
        "/shared-lock-replica/",
    ];
    eventually("all else is gone", Duration::from_secs(5), async || {
        let bare = GetOptions::new().with_prefix().with_keys_only();
        let all = client
            .clone()
            .get("/shared-lock", Some(bare))
            .await
            .unwrap();
        for kv in all.kvs() {
            let name = kv.key_str().unwrap();
            // It names the life of this etcd, whatever becomes of its locks.
            if name == "/shared-lock-epoch" {
                continue;
            }
            if !noted.iter().any(|space| name.starts_with(space)) || kv.lease() == 0 {
                return Err(name.to_owned());
            }
        }
        Ok(())
    })
    .await
    .unwrap();
    assert!(
        store
            .inspect(&key("note"))
            .await
            .unwrap()
            .holders
            .is_empty()
    );
}

/// How many leases there are, once revocations in the background are done.
async fn settled_leases(client: &mut etcd_client::Client, at_most: usize) -> usize {
    for _ in 0..100 {
        let leases = client.leases().await.unwrap().leases().len();
        if leases <= at_most.max(2) {
            return leases;
        }
        sleep(Duration::from_millis(20)).await;
    }
    client.leases().await.unwrap().leases().len()
}
