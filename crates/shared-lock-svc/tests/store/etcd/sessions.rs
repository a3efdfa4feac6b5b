//! Sessions at several replicas, and when etcd's answers get lost.

use std::time::Duration;

use shared_lock_svc::lease::{AcquireRequest, Acquisition, Session};
use testbed::{Etcd, FaultProxy};
use tokio::time::{sleep, timeout};

use super::{
    plain, ready, replica, shared,
    unknown::{Outcomes, is_free, some_are_answered, stops},
};
use crate::contract::{
    LONG, Store, acquired, comes_soon, end, holds, key, names, opens, patient, queued, reader,
    release, request, start, takes, until, within,
};

async fn two_replicas() -> [Store; 2] {
    let etcd = shared().await.endpoint();
    [replica(etcd).await, replica(etcd).await]
}

#[tokio::test]
async fn a_session_is_good_at_every_replica() {
    let [here, there] = two_replicas().await;
    for round in 0..10 {
        let session = opens(&here, "anywhere").await;
        let name = format!("anywhere {round}");
        let tenure = takes(&there, within(&session, request(&name, "anywhere"))).await;
        assert_eq!((tenure.lease_id, tenure.ttl), (session.id, session.ttl));
        assert!(there.keep_lease_alive(session.id).await.unwrap().is_some());
        assert!(there.end_session(session.id).await.unwrap());
        let asked = within(&session, request(&name, "anywhere"));
        assert_eq!(here.acquire(asked).await.unwrap(), Acquisition::SessionGone);
        holds(&here, &name, "next").await;
    }
}

/// Its waiters elsewhere are told at once, and are no more in anybody's way.
#[tokio::test]
async fn the_end_of_a_session_reaches_waiters_at_the_other_replica() {
    let [here, there] = two_replicas().await;
    let session = opens(&here, "elsewhere").await;
    let first = holds(&here, "elsewhere", "first").await;
    let asked = patient(within(&session, request("elsewhere", "elsewhere")));
    let waiter = queued(&there, asked).await;
    let behind = queued(&here, patient(request("elsewhere", "behind"))).await;
    assert!(here.end_session(session.id).await.unwrap());
    let outcome = timeout(Duration::from_secs(2), waiter).await.unwrap();
    assert_eq!(outcome.unwrap().unwrap(), Acquisition::SessionGone);
    assert!(release(&here, "elsewhere", &first).await);
    comes_soon(behind).await;
}

/// Each of its locks goes to the next waiter, not to whoever comes after an expiry.
#[tokio::test]
async fn a_session_that_ends_hands_over_each_of_its_locks() {
    let [here, there] = two_replicas().await;
    let mut client = plain(shared().await).await;
    let session = opens(&here, "hands-over").await;
    let mut waiters = Vec::new();
    for at in 0..20 {
        let name = format!("hands-over {at}");
        takes(&here, within(&session, request(&name, "session"))).await;
        waiters.push(queued(&there, patient(request(&name, "next"))).await);
    }
    assert!(there.end_session(session.id).await.unwrap());
    for (at, waiter) in waiters.into_iter().enumerate() {
        acquired(
            timeout(Duration::from_secs(5), waiter)
                .await
                .unwrap()
                .unwrap(),
        );
        let holder = format!("/shared-lock/hands-over {at}");
        let holder = client.get(holder, None).await.unwrap();
        let holder = &holder.kvs()[0];
        assert!(
            holder.create_revision() < holder.mod_revision(),
            "it was written over"
        );
    }
}

/// Whoever leaves a queue must not take what its session hangs on with it.
#[tokio::test]
async fn a_session_goes_on_after_its_waiters_left() {
    let [here, there] = two_replicas().await;
    let session = opens(&here, "goes-on").await;
    holds(&there, "goes-on", "first").await;
    for leaves in ["times out", "is ended", "is dropped"] {
        let wait = match leaves {
            "times out" => Duration::from_millis(50),
            _ => LONG,
        };
        let asked = AcquireRequest {
            wait,
            ..within(&session, request("goes-on", leaves))
        };
        let waiter = start(&here, asked.clone());
        match leaves {
            "times out" => {}
            "is ended" => {
                until(&there, "goes-on", "it waits", |view| {
                    view.waiters.len() == 1
                })
                .await;
                assert!(end(&there, "goes-on", &asked.request_id).await);
            }
            _ => {
                until(&there, "goes-on", "it waits", |view| {
                    view.waiters.len() == 1
                })
                .await;
                waiter.abort();
            }
        }
        let _ = waiter.await;
        until(&there, "goes-on", "nobody waits", |view| {
            view.waiters.is_empty()
        })
        .await;
        let other = format!("goes-on after one {leaves}");
        takes(&there, within(&session, request(&other, "session"))).await;
        assert_eq!(names(&here, &other).await.0, ["session"]);
    }
}

/// An answer that is lost leaves the session whole: its other locks are held on, and the lock that was
/// asked for is either told or nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_costs_a_session_neither_its_life_nor_its_other_locks() {
    let etcd = shared().await;
    let proxy = FaultProxy::start(etcd.endpoint()).await.unwrap();
    let (flaky, sound) = (replica(&proxy.url()).await, replica(etcd.endpoint()).await);
    let session = opens(&sound, "flaky").await;
    takes(&sound, within(&session, request("flaky's other", "flaky"))).await;
    let mut outcomes = Outcomes::default();
    for round in 0..60 {
        ready(&flaky).await;
        let name = format!("flaky {round}");
        let asked = match round % 2 {
            0 => within(&session, request(&name, "flaky")),
            _ => within(&session, reader(&name, "flaky")),
        };
        let acquiring = start(&flaky, asked.clone());
        sleep(Duration::from_micros(100 * (round % 30))).await;
        proxy.drop_next_answer();
        outcomes.note(acquiring.await.unwrap(), &sound, &name).await;
        // What the replica goes on to close, it closes soon; and then the id is over for good.
        is_free(&sound, &name).await;
        end(&sound, &name, &asked.request_id).await;
        let again = sound.acquire(asked).await.unwrap();
        assert_eq!(again, Acquisition::RequestEnded);
        lives(&sound, &session).await;
    }
    println!("{outcomes:?}, {} answers lost", proxy.answers_dropped());
    assert!(proxy.answers_dropped() >= 30);
}

/// etcd stops in the middle of many requests of one session, and does what it was asked when everybody
/// has given up.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_session_that_arrive_late_leave_nothing_behind() {
    let etcd = Etcd::start().await.unwrap();
    let stores = [
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    ];
    let session = opens(&stores[0], "late").await;
    let other = takes(
        &stores[0],
        within(&session, request("late's other", "late")),
    )
    .await;
    let mut outcomes = Outcomes::default();
    for round in 0..3 {
        let requests: Vec<_> = (0..30)
            .map(|at| {
                let name = format!("late {round} {at}");
                let asked = within(&session, request(&name, "late"));
                let acquiring = start(&stores[at % 2], asked);
                (name, acquiring)
            })
            .collect();
        let some = round * 5;
        some_are_answered(some, || {
            let done = requests
                .iter()
                .filter(|(_, acquiring)| acquiring.is_finished());
            done.count()
        })
        .await;
        stops(&etcd).await;
        for store in &stores {
            ready(store).await;
        }
        for (name, acquiring) in requests {
            let outcome = acquiring.await.unwrap();
            outcomes.note(outcome, &stores[1], &name).await;
            is_free(&stores[1], &name).await;
        }
    }
    assert!(
        outcomes.failed >= 5,
        "etcd was not stopped in the middle of anything: {outcomes:?}"
    );
    assert!(
        release(&stores[1], "late's other", &other).await,
        "it holds on"
    );
    lives(&stores[1], &session).await;
}

async fn lives(store: &Store, session: &Session) {
    let kept = store.keep_lease_alive(session.id).await.unwrap();
    assert!(kept.is_some(), "the session lives");
    let held = store.keep_alive(&key("flaky's other"), session.id).await;
    assert!(held.is_ok());
}
