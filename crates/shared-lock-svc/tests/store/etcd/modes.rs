//! Readers, writers and permits at several replicas.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use shared_lock_svc::lease::{AcquireRequest, Acquisition, Mode, Tenure};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::{IdleReplica, plain, replica, shared};
use crate::contract::{
    LONG, Store, acquired, holds, key, names, patient, permit, queued, reader, refused, release,
    request, takes, until, waits,
};

async fn two_replicas() -> [Store; 2] {
    let etcd = shared().await.endpoint();
    [replica(etcd).await, replica(etcd).await]
}

type Waiter = JoinHandle<Result<Acquisition, shared_lock_svc::store::StoreError>>;

async fn gets(waiter: Waiter) -> Tenure {
    let outcome = timeout(Duration::from_secs(5), waiter).await;
    acquired(outcome.expect("it waits for ever").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_queue_over_two_replicas_serves_all_modes_in_the_order_of_arrival() {
    let replicas = two_replicas().await;
    let wish = |name: &str, at: usize| match name.split(' ').next() {
        Some("writer") => request("order", name),
        Some("reader") => reader("order", name),
        _ => permit("order", name, 3, 1 + u32::try_from(at % 2).unwrap()),
    };
    let groups = [
        vec!["writer 1"],
        vec!["reader 1", "reader 2", "reader 3"],
        vec!["permit 1", "permit 2"],
        vec!["writer 2"],
        vec!["reader 4"],
        vec!["permit 3", "permit 4"],
        vec!["reader 5", "reader 6"],
        vec!["writer 3"],
    ];
    let mut held = vec![holds(&replicas[0], "order", "first").await];
    let mut waiters = Vec::new();
    for (at, name) in groups.iter().flatten().enumerate() {
        let asked = patient(wish(name, at));
        waiters.push(queued(&replicas[at % 2], asked).await);
    }
    let mut waiters = waiters.into_iter();
    for (turn, group) in groups.iter().enumerate() {
        let newest = held.iter().map(|tenure| tenure.fencing_token).max();
        for (at, tenure) in held.drain(..).enumerate() {
            assert!(release(&replicas[(turn + at) % 2], "order", &tenure).await);
        }
        for waiter in waiters.by_ref().take(group.len()) {
            let tenure = gets(waiter).await;
            assert!(Some(tenure.fencing_token) > newest, "{group:?}");
            held.push(tenure);
        }
        assert_eq!(names(&replicas[turn % 2], "order").await.0, *group);
    }
}

/// All of them have one token: one transaction ended the writer and granted them.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_hands_over_to_all_readers_at_the_head_in_one_step() {
    let replicas = two_replicas().await;
    let first = holds(&replicas[0], "in-one-step", "first").await;
    let mut readers = Vec::new();
    for at in 0..8 {
        let asked = patient(reader("in-one-step", &format!("reader {at}")));
        readers.push(queued(&replicas[at % 2], asked).await);
    }
    assert!(release(&replicas[0], "in-one-step", &first).await);
    let mut tenures = Vec::new();
    for waiter in readers {
        tenures.push(gets(waiter).await);
    }
    assert!(
        tenures
            .iter()
            .all(|tenure| tenure.fencing_token == tenures[0].fencing_token)
    );
    // They share the token, and each is released by its own lease.
    for (at, tenure) in tenures.iter().enumerate() {
        assert!(release(&replicas[at % 2], "in-one-step", tenure).await);
        let left = names(&replicas[0], "in-one-step").await.0.len();
        assert_eq!(left, tenures.len() - at - 1);
    }
}

/// More than one transaction takes are granted all the same, in their order.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_is_granted_in_several_steps() {
    let replicas = two_replicas().await;
    let first = holds(&replicas[0], "long-run", "first").await;
    let mut readers = Vec::new();
    for at in 0..20 {
        let asked = patient(reader("long-run", &format!("reader {at}")));
        readers.push(queued(&replicas[at % 2], asked).await);
    }
    assert!(release(&replicas[1], "long-run", &first).await);
    let mut last = first.fencing_token;
    for waiter in readers {
        let tenure = gets(waiter).await;
        assert!(tenure.fencing_token >= last);
        last = tenure.fencing_token;
    }
    assert_eq!(names(&replicas[0], "long-run").await.0.len(), 20);
}

/// The head waits at a replica that does nothing, so that only the release can have granted it.
#[tokio::test]
async fn the_last_reader_hands_over_to_the_writer_without_a_gap() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let idle = IdleReplica::start(&mut client).await;
    for round in 0..20 {
        let name = format!("last-reader {round}");
        let first = takes(&store, reader(&name, "first")).await;
        let last = takes(&store, reader(&name, "last")).await;
        idle.wait_for(&mut client, &name).await;
        assert!(release(&store, &name, &first).await);
        let (holders, waiters) = names(&store, &name).await;
        assert_eq!((holders, waiters.len()), (vec!["last".to_owned()], 1));
        assert!(release(&store, &name, &last).await);
        assert_eq!(names(&store, &name).await.0, ["idle"], "round {round}");
    }
}

/// Each may believe that the other stays, and leave the lock to nobody: then the head is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_leave_at_once_do_not_leave_the_writer_behind() {
    let replicas = two_replicas().await;
    for round in 0..25 {
        let name = format!("both-leave {round}");
        let one = takes(&replicas[0], reader(&name, "one")).await;
        let other = takes(&replicas[1], reader(&name, "other")).await;
        let writer = waits(&replicas[round % 2], &name, "writer", LONG).await;
        let (first, second) = tokio::join!(
            release(&replicas[0], &name, &one),
            release(&replicas[1], &name, &other)
        );
        assert!(first && second);
        let writer = gets(writer).await;
        assert!(writer.fencing_token > one.fencing_token.max(other.fencing_token));
        assert!(release(&replicas[0], &name, &writer).await);
    }
}

/// A reader behind a writer that gives up is let in beside the readers that hold.
#[tokio::test]
async fn whoever_fits_is_promoted_beside_those_who_hold() {
    let [here, there] = two_replicas().await;
    takes(&here, reader("beside", "first")).await;
    let writer = waits(&there, "beside", "writer", LONG).await;
    let second = queued(&here, patient(reader("beside", "second"))).await;
    refused(&there, reader("beside", "impatient")).await;
    writer.abort();
    gets(second).await;
    assert_eq!(names(&there, "beside").await.0, ["first", "second"]);
}

/// A permit that another replica granted a moment ago counts, seen or not.
#[tokio::test(flavor = "multi_thread")]
async fn permits_never_weigh_more_than_their_limit() {
    let etcd = shared().await.endpoint();
    let replicas = [
        replica(etcd).await,
        replica(etcd).await,
        replica(etcd).await,
    ];
    let (weight, grants) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut hands = JoinSet::new();
    for hand in 0..12_usize {
        let store = Arc::clone(&replicas[hand % 3]);
        let (all, grants) = (Arc::clone(&weight), Arc::clone(&grants));
        hands.spawn(async move {
            for round in 0..12 {
                let own = 1 + u32::try_from((hand + round) % 3).unwrap();
                let wait = if round % 3 == 0 { Duration::ZERO } else { LONG };
                let asked = AcquireRequest {
                    wait,
                    ..permit("weights", &format!("hand {hand}"), 5, own)
                };
                let outcome = store.acquire(asked).await.unwrap();
                let Acquisition::Acquired(tenure) = outcome else {
                    continue;
                };
                grants.fetch_add(1, Ordering::SeqCst);
                let together = all.fetch_add(own, Ordering::SeqCst) + own;
                assert!(together <= 5, "{together} at once");
                tokio::task::yield_now().await;
                all.fetch_sub(own, Ordering::SeqCst);
                assert!(release(&store, "weights", &tenure).await);
            }
        });
    }
    timeout(LONG, async {
        while let Some(done) = hands.join_next().await {
            done.unwrap();
        }
    })
    .await
    .unwrap();
    assert!(grants.load(Ordering::SeqCst) >= 96);
    let view = replicas[0].inspect(&key("weights")).await.unwrap();
    assert_eq!((view.holders.len(), view.waiters.len()), (0, 0), "{view:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_never_hold_together() {
    let etcd = shared().await.endpoint();
    let replicas = [
        replica(etcd).await,
        replica(etcd).await,
        replica(etcd).await,
    ];
    // Readers count up, a writer counts for a thousand down.
    let inside = Arc::new(AtomicI64::new(0));
    let mut hands = JoinSet::new();
    for hand in 0..12_usize {
        let (store, inside) = (Arc::clone(&replicas[hand % 3]), Arc::clone(&inside));
        hands.spawn(async move {
            for round in 0..12 {
                let writes = (hand + round) % 4 == 0;
                let asked = AcquireRequest {
                    mode: if writes {
                        Mode::Exclusive
                    } else {
                        Mode::Shared
                    },
                    ..patient(request("readers-writers", &format!("hand {hand}")))
                };
                let tenure = acquired(store.acquire(asked).await);
                let own = if writes { -1000 } else { 1 };
                let together = inside.fetch_add(own, Ordering::SeqCst) + own;
                assert!(together == -1000 || together > 0 && !writes, "{together}");
                tokio::task::yield_now().await;
                inside.fetch_sub(own, Ordering::SeqCst);
                assert!(release(&store, "readers-writers", &tenure).await);
            }
        });
    }
    timeout(LONG, async {
        while let Some(done) = hands.join_next().await {
            done.unwrap();
        }
    })
    .await
    .unwrap();
}

/// The thousand and first is told that the lock is held, and does not wait.
#[tokio::test]
async fn a_queue_takes_a_thousand() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    holds(&store, "thousand", "first").await;
    let idle = IdleReplica::start(&mut client).await;
    idle.wait_for(&mut client, "thousand").await;
    let queue = format!(
        "/shared-lock-queue/{}",
        BASE64_URL_SAFE_NO_PAD.encode("thousand")
    );
    let entry = client.get(format!("{queue}/idle"), None).await.unwrap();
    let entry = entry.kvs()[0].clone();
    for place in 1..1000 {
        let key = format!("{queue}/idle-{place}");
        let seat = etcd_client::PutOptions::new().with_lease(entry.lease());
        client.put(key, entry.value(), Some(seat)).await.unwrap();
    }
    let held = timeout(
        Duration::from_secs(5),
        refused(&store, patient(request("thousand", "too many"))),
    );
    assert_eq!(held.await.unwrap().queue_length, 1000);
    client
        .delete(format!("{queue}/idle-999"), None)
        .await
        .unwrap();
    let waiter = waits(&store, "thousand", "just in", LONG).await;
    waiter.abort();
    until(&store, "thousand", "it left", |view| {
        view.waiters.len() == 999
    })
    .await;
}

/// What an older version does with what this one writes: it keeps its hands off, and so do we.
#[tokio::test]
async fn a_record_of_another_format_is_refused_and_left_alone() {
    let etcd = shared().await;
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(etcd).await;
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let hold = format!(
        "/shared-lock-hold/{}/s/theirs",
        BASE64_URL_SAFE_NO_PAD.encode("format")
    );
    let on_lease = etcd_client::PutOptions::new().with_lease(lease);
    let theirs = json!({ "format": 3, "anything": "else" }).to_string();
    client
        .put(hold.as_str(), theirs.clone(), Some(on_lease))
        .await
        .unwrap();
    let outcome = store.acquire(request("format", "ours")).await.unwrap_err();
    assert!(outcome.to_string().contains("format 3"), "{outcome}");
    let stands = client.get(hold.as_str(), None).await.unwrap();
    assert_eq!(stands.kvs()[0].value_str().unwrap(), theirs);
    client.lease_revoke(lease).await.unwrap();
    holds(&store, "format", "ours").await;
}
