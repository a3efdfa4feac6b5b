//! Replicas that cannot reach etcd, each of the three ways: it refuses, it is silent, it breaks every
//! connection. What they do not know they do not tell.

use std::time::{Duration, Instant};

use shared_lock_svc::{
    lease::{AcquireAllRequest, Acquisition, AllAcquisition, Anchor, RequestId, WantedLock},
    store::{ForceRelease, StoreError},
};
use testbed::{FaultProxy, eventually};

use super::{ready, replica, shared};
use crate::contract::{
    Store, claim, end, holds, key, opens, patient, reader, release, request, start, takes, until,
    within,
};

fn is_away<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    assert!(
        matches!(
            outcome,
            Err(StoreError::Unavailable(_) | StoreError::Timeout)
        ),
        "{outcome:?}"
    );
}

/// Whatever a holder or an administrator asks, in vain and soon.
async fn knows_nothing(cut: &Store, lock: &str, tenure: &shared_lock_svc::lease::Tenure) {
    let asked = Instant::now();
    is_away(cut.verify(&key(lock), &claim(tenure)).await);
    assert!(
        asked.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        asked.elapsed()
    );
    // From then on nothing is waited for.
    eventually(
        "it is known that etcd is away",
        Duration::from_secs(5),
        async || match cut.ready().await {
            Err(StoreError::Unavailable(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
    let asked = Instant::now();
    is_away(cut.verify(&key(lock), &claim(tenure)).await);
    is_away(cut.keep_alive(&key(lock), tenure.lease_id).await);
    is_away(
        cut.force_release(
            &key(lock),
            ForceRelease {
                reason: None,
                trace_id: None,
            },
        )
        .await,
    );
    is_away(cut.acquire(reader(lock, "another")).await);
    is_away(cut.end_session(tenure.lease_id).await);
    is_away(cut.inspect(&key(lock)).await);
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_never_says_that_a_tenure_is_current() {
    let etcd = shared().await;
    let proxy = FaultProxy::start(etcd.endpoint()).await.unwrap();
    let (cut, sound) = (replica(&proxy.url()).await, replica(etcd.endpoint()).await);
    for fault in ["refuses", "is silent", "breaks"] {
        let name = format!("cut off: it {fault}");
        let tenure = holds(&cut, &name, "holder").await;
        match fault {
            "refuses" => proxy.refuse().await.unwrap(),
            "is silent" => proxy.silent().await.unwrap(),
            _ => proxy.reset().await.unwrap(),
        }
        knows_nothing(&cut, &name, &tenure).await;
        // Meanwhile it is over, and the replica that was cut off has not seen it.
        assert!(release(&sound, &name, &tenure).await);
        knows_nothing(&cut, &name, &tenure).await;
        proxy.pass().await.unwrap();
        ready(&cut).await;
        assert_eq!(
            cut.verify(&key(&name), &claim(&tenure)).await.unwrap(),
            None
        );
    }
}

/// Several locks, asked for over a connection that loses answers: told and held, or neither.
#[tokio::test(flavor = "multi_thread")]
async fn several_locks_whose_answer_is_lost_are_all_held_or_all_free() {
    let etcd = shared().await;
    let proxy = FaultProxy::start(etcd.endpoint()).await.unwrap();
    let (flaky, sound) = (replica(&proxy.url()).await, replica(etcd.endpoint()).await);
    let session = opens(&sound, "several").await;
    takes(
        &sound,
        within(&session, request("several's other", "several")),
    )
    .await;
    let (mut told, mut failed) = (0, 0);
    for round in 0..40 {
        ready(&flaky).await;
        let names: Vec<_> = (0..3).map(|at| format!("several {round} {at}")).collect();
        let asked = AcquireAllRequest {
            locks: names
                .iter()
                .map(|name| WantedLock {
                    key: key(name),
                    mode: shared_lock_svc::lease::Mode::Exclusive,
                })
                .collect(),
            holder: shared_lock_svc::lease::Holder::unnamed(),
            anchor: match round % 2 {
                0 => Anchor::Session(session.id),
                _ => Anchor::Own(Duration::from_secs(60)),
            },
            wait: Duration::ZERO,
            request_id: RequestId::random(),
            metadata: Default::default(),
            trace_id: None,
        };
        let acquiring = tokio::spawn({
            let (flaky, asked) = (flaky.clone(), asked.clone());
            async move { flaky.acquire_all(asked).await }
        });
        tokio::time::sleep(Duration::from_micros(150 * (round % 20))).await;
        proxy.drop_next_answer();
        match acquiring.await.unwrap() {
            Ok(AllAcquisition::Acquired(all)) => {
                told += 1;
                for name in &names {
                    let view = sound.inspect(&key(name)).await.unwrap();
                    assert_eq!(view.holders.len(), 1, "who was told holds all of them");
                    assert!(end(&sound, name, &asked.request_id).await);
                }
                assert!(all.session.id != session.id || round % 2 == 0);
            }
            Ok(other) => panic!("{other:?}"),
            Err(StoreError::Unavailable(_) | StoreError::Timeout) => failed += 1,
            Err(other) => panic!("{other:?}"),
        }
        for name in &names {
            until(&sound, name, "it is free", |view| view.holders.is_empty()).await;
        }
        let again = AcquireAllRequest {
            anchor: Anchor::Own(Duration::from_secs(60)),
            ..asked
        };
        end(&sound, &names[2], &again.request_id).await;
        let outcome = sound.acquire_all(again).await.unwrap();
        assert_eq!(outcome, AllAcquisition::RequestEnded);
        assert!(
            sound.keep_lease_alive(session.id).await.unwrap().is_some(),
            "the session lives"
        );
    }
    println!(
        "{told} told, {failed} failed, {} answers lost",
        proxy.answers_dropped()
    );
    assert!(proxy.answers_dropped() >= 20);
}

/// A wait outlives a spell without etcd at the other replica, in whatever mode.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_wait_at_a_replica_that_is_cut_off_lose_their_place_and_nothing_else() {
    let etcd = shared().await;
    let proxy = FaultProxy::start(etcd.endpoint()).await.unwrap();
    let (cut, sound) = (replica(&proxy.url()).await, replica(etcd.endpoint()).await);
    let first = holds(&sound, "cut reader", "first").await;
    let reader = start(&cut, patient(reader("cut reader", "reader")));
    // Asked where it waits: the answer to its own proposal came back before this one.
    until(&cut, "cut reader", "it waits", |view| {
        view.waiters.len() == 1
    })
    .await;
    proxy.refuse().await.unwrap();
    until(&sound, "cut reader", "its replica is dead", |view| {
        view.waiters.is_empty()
    })
    .await;
    assert!(release(&sound, "cut reader", &first).await);
    let writer = holds(&sound, "cut reader", "writer").await;
    proxy.pass().await.unwrap();
    until(&sound, "cut reader", "it waits again", |view| {
        view.waiters.len() == 1
    })
    .await;
    assert!(release(&sound, "cut reader", &writer).await);
    let outcome = reader.await.unwrap().unwrap();
    let Acquisition::Acquired(tenure) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(tenure.fencing_token > writer.fencing_token);
}
