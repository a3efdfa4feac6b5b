//! Answers of etcd that never come, or come when nobody waits for them any more.

use std::{sync::Arc, time::Duration};

use shared_lock_svc::lease::{AcquireRequest, Acquisition};
use testbed::{Etcd, FaultProxy, eventually};
use tokio::time::{sleep, timeout};

use super::{
    plain, ready, replica, shared,
    unknown::{Outcomes, is_free, some_are_answered, stops},
};
use crate::contract::{acquired, holds, key, of, queued, release, request, start};

const LONG: Duration = Duration::from_secs(50);

/// Requests whose outcome is not known are undone: what nobody was told of, nobody holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_no_ghost_behind() {
    let etcd = shared().await;
    let proxy = FaultProxy::start(etcd.endpoint()).await.unwrap();
    let (flaky, sound) = (replica(&proxy.url()).await, replica(etcd.endpoint()).await);
    let mut outcomes = Outcomes::default();
    for round in 0..60 {
        ready(&flaky).await;
        let name = format!("ghost {round}");
        let acquiring = tokio::spawn({
            let (flaky, asked) = (Arc::clone(&flaky), request(&name, "first"));
            async move { flaky.acquire(asked).await }
        });
        // The answer that is lost is that of the grant, of the transaction, of the keepalive, or of none of them.
        sleep(Duration::from_micros(150 * (round % 40))).await;
        proxy.drop_next_answer();
        outcomes.note(acquiring.await.unwrap(), &sound, &name).await;
        is_free(&sound, &name).await;
    }
    assert!(
        proxy.answers_dropped() >= 30,
        "no answer was lost where it matters: {outcomes:?}"
    );
}

/// etcd stops in the middle of many requests, and does what it was asked when everybody has given up.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_arrive_late_leave_no_ghost_behind() {
    let etcd = Etcd::start().await.unwrap();
    let replicas = [
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    ];
    let mut outcomes = Outcomes::default();
    for answered in [0, 4, 12] {
        // Half of the locks are held: requests for them are on their way into the queue.
        let mut locks = Vec::new();
        for place in 0..40 {
            let (name, store) = (format!("late {answered} {place}"), &replicas[place % 2]);
            let holder = match place % 4 {
                0 | 1 => None,
                _ => Some(holds(store, &name, "holder").await),
            };
            locks.push((name, Arc::clone(store), holder));
        }
        let requests: Vec<_> = locks
            .into_iter()
            .map(|(name, store, holder)| {
                let wait = if holder.is_some() {
                    LONG
                } else {
                    Duration::ZERO
                };
                let asked = AcquireRequest {
                    wait,
                    ..request(&name, "late")
                };
                let acquiring = start(&store, asked);
                (name, store, holder, acquiring)
            })
            .collect();
        some_are_answered(answered, || {
            let done = requests
                .iter()
                .filter(|(.., acquiring)| acquiring.is_finished());
            done.count()
        })
        .await;
        stops(&etcd).await;
        for (name, store, holder, acquiring) in requests {
            ready(&store).await;
            if let Some(holder) = holder {
                assert!(release(&store, &name, &holder).await);
            }
            outcomes.note(acquiring.await.unwrap(), &store, &name).await;
            is_free(&store, &name).await;
        }
    }
    assert!(
        outcomes.failed >= 10,
        "etcd was not stopped in the middle of anything: {outcomes:?}"
    );
    let mut client = plain(&etcd).await;
    eventually(
        "all leases of failed requests are revoked",
        Duration::from_secs(20),
        async || {
            // Two for liveness, up to two for what is remembered, up to six spares; a liveness that
            // was lost may linger.
            let leases = client.leases().await.unwrap().leases().len();
            if leases <= 12 {
                Ok(())
            } else {
                Err(format!("{leases} leases"))
            }
        },
    )
    .await
    .unwrap();
}

/// A release whose answer is lost has ended the tenure, or is done again; never another tenure.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_answer_is_lost_ends_its_own_tenure_only() {
    let etcd = shared().await;
    let proxy = FaultProxy::start(etcd.endpoint()).await.unwrap();
    let (flaky, sound) = (replica(&proxy.url()).await, replica(etcd.endpoint()).await);
    for round in 0..30 {
        ready(&flaky).await;
        let name = format!("release {round}");
        let first = holds(&sound, &name, "first").await;
        let heir = queued(
            &sound,
            AcquireRequest {
                wait: LONG,
                ..request(&name, "heir")
            },
        )
        .await;
        proxy.drop_next_answer();
        let ends = of(&first);
        // A client repeats its release until it is answered.
        eventually(
            "the release is answered",
            Duration::from_secs(10),
            async || flaky.release(&key(&name), ends.clone()).await,
        )
        .await
        .unwrap();
        let heir = acquired(
            timeout(Duration::from_secs(5), heir)
                .await
                .unwrap()
                .unwrap(),
        );
        assert!(release(&sound, &name, &heir).await, "the heir holds on");
    }
}

/// A waiter is cut off from etcd for longer than its lease lives, is handed the lock meanwhile, and
/// must not be told that it holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_whose_lease_ran_out_while_it_was_cut_off_is_not_told_that_it_holds() {
    let etcd = Etcd::start().await.unwrap();
    let proxy = FaultProxy::start(etcd.endpoint()).await.unwrap();
    let (cut, sound) = (replica(&proxy.url()).await, replica(etcd.endpoint()).await);
    let tenure = holds(&sound, "cut", "first").await;
    let asked = AcquireRequest {
        anchor: shared_lock_svc::lease::Anchor::Own(Duration::from_secs(2)),
        wait: LONG,
        ..request("cut", "cut off")
    };
    let waiter = queued(&cut, asked).await;
    proxy.silent().await.unwrap();
    assert!(release(&sound, "cut", &tenure).await);
    is_free(&sound, "cut").await;
    let next = holds(&sound, "cut", "next").await;
    proxy.pass().await.unwrap();
    ready(&cut).await;
    assert!(release(&sound, "cut", &next).await);
    if let Ok(Acquisition::Acquired(late)) = timeout(LONG, waiter).await.unwrap().unwrap() {
        assert!(
            late.fencing_token > next.fencing_token,
            "it holds by a grant of its own, if at all"
        );
    }
}
