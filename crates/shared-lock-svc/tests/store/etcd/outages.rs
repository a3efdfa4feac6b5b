//! etcd away, silent, restarted, compacted, and its members one by one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shared_lock_svc::{
    lease::AcquireRequest,
    store::{
        LockStore, StoreError,
        etcd::{EtcdOptions, EtcdStore},
    },
};
use testbed::{Etcd, EtcdCluster, FaultProxy, Scratch, eventually, free_port};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{connect, plain, ready, replica};
use crate::contract::{Store, acquired, holds, key, of, release, request, until, waits};

const LONG: Duration = Duration::from_secs(50);

#[tokio::test]
async fn a_replica_starts_without_etcd_says_so_and_works_when_it_comes() {
    let (client_port, peer_port) = (free_port().unwrap(), free_port().unwrap());
    let store: Store = connect(&[&format!("http://127.0.0.1:{client_port}")]).await;
    for _ in 0..3 {
        let asked = Instant::now();
        let outcome = store.acquire(request("early", "holder")).await;
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{outcome:?}"
        );
        assert!(matches!(
            store.ready().await,
            Err(StoreError::Unavailable(_))
        ));
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
    }
    let data = Scratch::new("late-etcd").unwrap();
    let _etcd = Etcd::open(data.path(), client_port, peer_port)
        .await
        .unwrap();
    ready(&store).await;
    holds(&store, "early", "holder").await;
}

#[tokio::test]
async fn a_silent_etcd_is_waited_for_two_seconds_once_and_then_refused_at_once() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    etcd.pause().unwrap();
    let asked = Instant::now();
    let outcome = store.acquire(request("silent", "holder")).await;
    assert!(
        matches!(
            outcome,
            Err(StoreError::Timeout | StoreError::Unavailable(_))
        ),
        "{outcome:?}"
    );
    assert!(
        asked.elapsed() < Duration::from_millis(2_300),
        "{:?}",
        asked.elapsed()
    );
    eventually(
        "the breaker is open",
        Duration::from_secs(5),
        async || match store.ready().await {
            Err(StoreError::Unavailable(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
    let asked = Instant::now();
    let outcome = store.acquire(request("silent", "holder")).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(
        asked.elapsed() < Duration::from_millis(50),
        "{:?}",
        asked.elapsed()
    );
    etcd.resume().unwrap();
    ready(&store).await;
    let asked = AcquireRequest {
        wait: Duration::from_secs(10),
        ..request("silent", "holder")
    };
    acquired(store.acquire(asked).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_outlive_an_etcd_that_is_killed_and_started_again() {
    let etcd = Etcd::start().await.unwrap();
    let (here, there) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    let mut tenure = holds(&here, "restart", "first").await;
    let waiters = [
        waits(&here, "restart", "second", LONG).await,
        waits(&there, "restart", "third", LONG).await,
    ];
    etcd.kill().unwrap();
    let asked = Instant::now();
    let outcome = here.keep_alive(&key("restart"), tenure.lease_id).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(asked.elapsed() < Duration::from_secs(1));
    etcd.restart().await.unwrap();
    ready(&here).await;
    ready(&there).await;
    assert!(
        here.keep_alive(&key("restart"), tenure.lease_id)
            .await
            .unwrap()
            .is_some()
    );
    for waiter in waiters {
        assert!(release(&here, "restart", &tenure).await);
        let next = acquired(
            timeout(Duration::from_secs(10), waiter)
                .await
                .unwrap()
                .unwrap(),
        );
        assert!(next.fencing_token > tenure.fencing_token);
        tenure = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_outlive_an_etcd_that_stops_for_a_while() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let tenure = holds(&store, "stops", "first").await;
    let waiter = waits(&store, "stops", "second", LONG).await;
    etcd.pause().unwrap();
    sleep(Duration::from_secs(4)).await;
    etcd.resume().unwrap();
    ready(&store).await;
    assert!(release(&store, "stops", &tenure).await);
    acquired(
        timeout(Duration::from_secs(10), waiter)
            .await
            .unwrap()
            .unwrap(),
    );
}

/// The hand-over happens while the waiter's replica hears nothing, and is compacted away before it
/// hears again.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_learns_of_a_hand_over_that_was_compacted_away() {
    let etcd = Etcd::start().await.unwrap();
    let proxy = FaultProxy::start(etcd.endpoint()).await.unwrap();
    let (cut, sound) = (replica(&proxy.url()).await, replica(etcd.endpoint()).await);
    let mut client = plain(&etcd).await;
    let tenure = holds(&sound, "compacted", "first").await;
    let waiter = waits(&cut, "compacted", "second", LONG).await;
    proxy.refuse().await.unwrap();
    assert!(release(&sound, "compacted", &tenure).await);
    let mut revision = 0;
    for number in 0..200 {
        let put = client
            .put(format!("/shared-lock-other/{number}"), "", None)
            .await
            .unwrap();
        revision = put.header().unwrap().revision();
    }
    client.compact(revision, None).await.unwrap();
    proxy.pass().await.unwrap();
    let next = acquired(
        timeout(Duration::from_secs(5), waiter)
            .await
            .unwrap()
            .unwrap(),
    );
    assert!(next.fencing_token > tenure.fencing_token);
}

/// Longer than the liveness of the replica: its entries are gone, its requests are not.
#[tokio::test(flavor = "multi_thread")]
async fn waiters_of_a_replica_that_was_cut_off_for_long_queue_again() {
    let etcd = Etcd::start().await.unwrap();
    let proxy = FaultProxy::start(etcd.endpoint()).await.unwrap();
    let (cut, sound) = (replica(&proxy.url()).await, replica(etcd.endpoint()).await);
    let tenure = holds(&sound, "long", "first").await;
    let waiter = waits(&cut, "long", "second", LONG).await;
    proxy.silent().await.unwrap();
    until(&sound, "long", "its entry is gone", |view| {
        view.waiters.is_empty()
    })
    .await;
    proxy.pass().await.unwrap();
    until(&sound, "long", "its entry is back", |view| {
        view.waiters.len() == 1
    })
    .await;
    assert!(release(&sound, "long", &tenure).await);
    acquired(
        timeout(Duration::from_secs(5), waiter)
            .await
            .unwrap()
            .unwrap(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_go_one_by_one_and_locks_go_on() {
    let cluster = EtcdCluster::start(3).await.unwrap();
    let store: Store = connect(&cluster.endpoints()).await;
    ready(&store).await;
    let mut tenure = holds(&store, "members", "first").await;
    let mut waiters = JoinSet::new();
    for place in 0..6 {
        let wait = Duration::from_secs(90);
        let waiter = waits(&store, "members", &format!("waiter {place}"), wait).await;
        waiters.spawn(async move { waiter.await.unwrap() });
    }
    let leader = cluster.leader().await.unwrap();
    for turn in 0..6 {
        // Each member in turn: killed, then stopped; the leader comes first.
        let member = &cluster.nodes()[(leader + turn) % 3];
        if turn < 3 {
            member.kill().unwrap();
        } else {
            member.pause().unwrap();
        }
        let within = Duration::from_secs(20);
        let release = of(&tenure);
        eventually("the release is answered", within, async || {
            store.release(&key("members"), release.clone()).await
        })
        .await
        .unwrap();
        let next = timeout(within, waiters.join_next()).await.unwrap();
        let next = acquired(next.unwrap().unwrap());
        assert!(next.fencing_token > tenure.fencing_token);
        tenure = next;
        if turn < 3 {
            member.restart().await.unwrap();
        } else {
            member.resume().unwrap();
        }
        ready(&store).await;
    }
}

#[tokio::test]
async fn members_that_are_not_there_do_not_disturb() {
    let etcd = Etcd::start().await.unwrap();
    let nowhere = format!("http://127.0.0.1:{}", free_port().unwrap());
    let store: Store = connect(&[&nowhere, etcd.endpoint()]).await;
    ready(&store).await;
    for round in 0..20 {
        holds(&store, &format!("members {round}"), "holder").await;
    }
}

#[tokio::test]
async fn the_token_epoch_is_kept_in_etcd_and_shared_by_its_replicas() {
    let etcd = Etcd::start().await.unwrap();
    let (here, there) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    let epoch = here.token_epoch().await.unwrap();
    assert_eq!(there.token_epoch().await.unwrap(), epoch);
    etcd.restart().await.unwrap();
    let later = replica(etcd.endpoint()).await;
    assert_eq!(later.token_epoch().await.unwrap(), epoch);
    let options = EtcdOptions {
        token_epoch: Some("after the restore".into()),
        ..EtcdOptions::new([etcd.endpoint()])
    };
    let named = EtcdStore::connect(options).await.unwrap();
    assert_eq!(named.token_epoch().await.unwrap(), "after the restore");
    let other = Etcd::start().await.unwrap();
    assert_ne!(
        replica(other.endpoint()).await.token_epoch().await.unwrap(),
        epoch
    );
}

/// Callers come from runtimes of their own, which may end at any time.
#[tokio::test(flavor = "multi_thread")]
async fn callers_on_other_runtimes_come_and_go() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    for round in 0..3 {
        let store = Arc::clone(&store);
        let worker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let tenure = holds(&store, "runtimes", "holder").await;
                assert!(release(&store, "runtimes", &tenure).await, "round {round}");
            });
        });
        tokio::task::spawn_blocking(|| worker.join().unwrap())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_at_once() {
    let refused = async |options: EtcdOptions| match EtcdStore::connect(options).await {
        Ok(_) => panic!("it was taken"),
        Err(err) => format!("{err:#}"),
    };
    assert!(
        refused(EtcdOptions::new(Vec::<String>::new()))
            .await
            .contains("no etcd endpoint")
    );
    let short = EtcdOptions {
        tombstone_ttl: Duration::from_secs(29),
        ..EtcdOptions::new(["http://127.0.0.1:1"])
    };
    assert!(refused(short).await.contains("ten times the liveness TTL"));
    let plain = EtcdOptions {
        tls: Some(Default::default()),
        ..EtcdOptions::new(["http://127.0.0.1:1"])
    };
    assert!(refused(plain).await.contains("not https"));
    let unreadable = shared_lock_svc::store::etcd::EtcdTls {
        ca: Some("/nowhere/ca.crt".into()),
        identity: None,
    };
    let unreadable = EtcdOptions {
        tls: Some(unreadable),
        ..EtcdOptions::new(["https://127.0.0.1:1"])
    };
    assert!(refused(unreadable).await.contains("/nowhere/ca.crt"));
}

/// Its revisions, and so the tokens, begin anew.
#[tokio::test]
async fn an_etcd_that_was_replaced_by_an_empty_one_is_another_epoch_for_all_replicas() {
    let (client_port, peer_port) = (free_port().unwrap(), free_port().unwrap());
    let first_life = Scratch::new("etcd-first").unwrap();
    let etcd = Etcd::open(first_life.path(), client_port, peer_port)
        .await
        .unwrap();
    let (one, two) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    let before = one.token_epoch().await.unwrap();
    assert_eq!(two.token_epoch().await.unwrap(), before);
    for lock in ["a", "b", "c"] {
        holds(&one, lock, "gone").await;
    }
    drop(etcd);
    let second_life = Scratch::new("etcd-second").unwrap();
    let _etcd = Etcd::open(second_life.path(), client_port, peer_port)
        .await
        .unwrap();
    // Whoever is served at all is told of the new epoch.
    let served = async |store: &Store, lock: &str| {
        eventually("a lock of the new etcd", LONG, async || {
            let epoch = store.token_epoch().await.map_err(|err| err.to_string())?;
            let outcome = store.acquire(request(lock, "new")).await;
            outcome.map_err(|err| err.to_string())?;
            Ok::<_, String>(epoch)
        })
        .await
        .unwrap()
    };
    let after = served(&one, "d").await;
    assert_ne!(after, before);
    assert_eq!(served(&two, "e").await, after);
    ready(&one).await;
    ready(&two).await;
    // The view is the new etcd's: what was held is free, and a release is seen by the other replica.
    let tenure = holds(&two, "a", "new").await;
    let waiter = waits(&one, "a", "waiter", LONG).await;
    assert!(release(&two, "a", &tenure).await);
    acquired(waiter.await.unwrap());
}
