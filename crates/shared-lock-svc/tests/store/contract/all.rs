//! Several locks or none.

use std::{collections::BTreeMap, time::Duration};

use shared_lock_svc::{
    lease::{
        AcquireAllRequest, AcquireRequest, AllAcquired, AllAcquisition, Anchor, Claim, Holder,
        LeaseId, Mode, RequestId, WantedLock,
    },
    store::{Release, StoreError},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    LONG, Store, assert_between, end, gets, holds, key, leaves, names, note, opens, patient,
    permit, reader, release, release_of, request, short, takes, until, waits, within,
};

pub(crate) type Trying = JoinHandle<Result<AllAcquisition, StoreError>>;

/// A request for all of `names`, each as `mode` says, that does not wait.
fn all(names: &[&str], mode: Mode) -> AcquireAllRequest {
    let wanted = |name: &&str| WantedLock {
        key: key(name),
        mode,
    };
    AcquireAllRequest {
        locks: names.iter().map(wanted).collect(),
        holder: Holder::try_from("all".to_owned()).unwrap(),
        anchor: Anchor::Own(Duration::from_secs(120)),
        wait: Duration::ZERO,
        request_id: RequestId::random(),
        metadata: BTreeMap::new(),
        trace_id: None,
    }
}

pub(crate) fn exclusive(names: &[&str]) -> AcquireAllRequest {
    all(names, Mode::Exclusive)
}

/// Starts to try for all of them, to write.
pub(crate) fn tries(store: &Store, names: &[&str], wait: Duration) -> Trying {
    let asked = AcquireAllRequest {
        wait,
        ..exclusive(names)
    };
    try_for(store, asked)
}

pub(crate) fn try_for(store: &Store, asked: AcquireAllRequest) -> Trying {
    let store = store.clone();
    tokio::spawn(async move { store.acquire_all(asked).await })
}

async fn takes_all(store: &Store, request: AcquireAllRequest) -> AllAcquired {
    all_of(store.acquire_all(request).await)
}

fn all_of(outcome: Result<AllAcquisition, StoreError>) -> AllAcquired {
    match outcome {
        Ok(AllAcquisition::Acquired(all)) => all,
        other => panic!("expected all of them, got {other:?}"),
    }
}

/// The release of the first of them.
fn first_of(all: &AllAcquired) -> Release {
    release_of(Claim::Tenure {
        lease_id: all.session.id,
        fencing_token: all.tenures[0].1,
    })
}

pub(super) async fn several_locks_are_taken_on_one_session(store: Store) {
    let left = holds(&store, "all-2", "before").await;
    assert!(leaves(&store, "all-2", &left, "from before").await);
    let all = takes_all(&store, exclusive(&["all-2", "all-1", "all-3"])).await;
    assert_eq!(all.session.ttl, Duration::from_secs(120));
    let told: Vec<_> = all.tenures.iter().map(|(key, _, _)| key.as_str()).collect();
    assert_eq!(
        told,
        ["all-2", "all-1", "all-3"],
        "in the order of the request"
    );
    assert_eq!(all.tenures[0].2, Some(note("from before")));
    assert_eq!(all.tenures[1].2, None);
    assert!(all.tenures[0].1 > left.fencing_token);
    for name in told {
        assert_eq!(names(&store, name).await.0, ["all"]);
        let kept = store.keep_alive(&key(name), all.session.id).await.unwrap();
        assert!(kept.is_some());
    }
    let first = first_of(&all);
    assert!(store.release(&key("all-2"), first.clone()).await.unwrap());
    assert!(!store.release(&key("all-2"), first).await.unwrap());
    holds(&store, "all-2", "next").await;
    assert_eq!(names(&store, "all-1").await.0, ["all"]);
    assert!(store.end_session(all.session.id).await.unwrap());
    holds(&store, "all-1", "next").await;
    holds(&store, "all-3", "next").await;
}

pub(super) async fn none_is_taken_where_one_is_held(store: Store) {
    holds(&store, "none-2", "other").await;
    let asked = exclusive(&["none-1", "none-2", "none-3"]);
    let outcome = store.acquire_all(asked).await.unwrap();
    let AllAcquisition::Held(which, held) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(which, key("none-2"));
    assert_eq!(held.holder.unwrap().as_str(), "other");
    for name in ["none-1", "none-3"] {
        holds(&store, name, "anybody").await;
    }
}

pub(super) async fn it_tries_again_when_a_lock_changes(store: Store) {
    let first = holds(&store, "again-1", "first").await;
    let second = holds(&store, "again-2", "second").await;
    let asked = AcquireAllRequest {
        wait: LONG,
        ..exclusive(&["again-1", "again-2"])
    };
    let trying = try_for(&store, asked);
    assert!(release(&store, "again-1", &first).await);
    // It does not queue, and it holds nothing before it holds all.
    let passes_by = takes(&store, super::patient(request("again-1", "passes by"))).await;
    assert_eq!(names(&store, "again-1").await.1, Vec::<String>::new());
    assert!(release(&store, "again-2", &second).await);
    assert!(!trying.is_finished());
    let freed = Instant::now();
    assert!(release(&store, "again-1", &passes_by).await);
    let all = all_of(trying.await.unwrap());
    assert!(
        freed.elapsed() < Duration::from_secs(2),
        "{:?}",
        freed.elapsed()
    );
    assert_eq!(all.tenures.len(), 2);
}

pub(super) async fn its_time_is_over_like_any_other(store: Store) {
    holds(&store, "late-2", "other").await;
    let asked = AcquireAllRequest {
        wait: Duration::from_millis(500),
        ..exclusive(&["late-1", "late-2"])
    };
    let started = Instant::now();
    let outcome = store.acquire_all(asked).await.unwrap();
    assert!(matches!(outcome, AllAcquisition::Held(..)), "{outcome:?}");
    let (least, most) = (Duration::from_millis(500), Duration::from_secs(3));
    assert_between(started.elapsed(), least, most);
    holds(&store, "late-1", "anybody").await;
}

pub(super) async fn it_does_not_pass_those_who_wait(store: Store) {
    let held = takes(&store, reader("polite-2", "reader")).await;
    let writer = waits(&store, "polite-2", "writer", LONG).await;
    let asked = all(&["polite-1", "polite-2"], Mode::Shared);
    let outcome = store.acquire_all(asked).await.unwrap();
    assert!(matches!(outcome, AllAcquisition::Held(..)), "{outcome:?}");
    assert!(release(&store, "polite-2", &held).await);
    let writer = gets(writer).await;
    assert!(release(&store, "polite-2", &writer).await);
}

pub(super) async fn every_mode_may_be_wanted(store: Store) {
    takes(&store, reader("modes-1", "reader")).await;
    takes(&store, permit("modes-2", "permit", 3, 1)).await;
    let mut asked = exclusive(&["modes-1", "modes-2", "modes-3"]);
    asked.locks[0].mode = Mode::Shared;
    asked.locks[1].mode = permit("any", "any", 3, 3).mode;
    let outcome = store.acquire_all(asked.clone()).await.unwrap();
    let AllAcquisition::Held(which, _) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(which, key("modes-2"), "it is too heavy");
    asked.locks[1].mode = permit("any", "any", 3, 2).mode;
    asked.request_id = RequestId::random();
    takes_all(&store, asked).await;
    assert_eq!(names(&store, "modes-1").await.0, ["reader", "all"]);
    assert_eq!(names(&store, "modes-2").await.0, ["permit", "all"]);
}

pub(super) async fn a_session_that_is_there_may_carry_them(store: Store) {
    let session = opens(&store, "there").await;
    takes(&store, within(&session, request("there-1", "there"))).await;
    let mut asked = exclusive(&["there-2", "there-3"]);
    asked.anchor = Anchor::Session(session.id);
    let all = takes_all(&store, asked.clone()).await;
    assert_eq!(all.session.id, session.id);
    assert!(store.end_session(session.id).await.unwrap());
    for name in ["there-1", "there-2", "there-3"] {
        holds(&store, name, "next").await;
    }
    for gone in [session.id, LeaseId(1)] {
        asked.anchor = Anchor::Session(gone);
        asked.request_id = RequestId::random();
        let outcome = store.acquire_all(asked.clone()).await.unwrap();
        assert_eq!(outcome, AllAcquisition::SessionGone);
    }
}

pub(super) async fn a_request_id_counts_at_each_of_the_locks(store: Store) {
    let mut asked = exclusive(&["counts-1", "counts-2"]);
    assert!(!end(&store, "counts-2", &asked.request_id).await);
    let outcome = store.acquire_all(asked.clone()).await.unwrap();
    assert_eq!(outcome, AllAcquisition::RequestEnded);
    asked.request_id = RequestId::random();
    takes_all(&store, asked.clone()).await;
    let outcome = store.acquire_all(asked.clone()).await.unwrap();
    assert_eq!(outcome, AllAcquisition::RequestKnown);
    assert!(end(&store, "counts-2", &asked.request_id).await);
    holds(&store, "counts-2", "next").await;
    assert_eq!(names(&store, "counts-1").await.0, ["all"]);
    assert!(end(&store, "counts-1", &asked.request_id).await);
}

pub(super) async fn a_request_that_is_ended_while_it_tries_gets_nothing(store: Store) {
    let other = holds(&store, "tries-2", "other").await;
    let asked = AcquireAllRequest {
        wait: LONG,
        ..exclusive(&["tries-1", "tries-2"])
    };
    let id = asked.request_id.clone();
    let trying = try_for(&store, asked);
    tokio::task::yield_now().await;
    assert!(!end(&store, "tries-1", &id).await);
    assert!(release(&store, "tries-2", &other).await);
    let outcome = timeout(Duration::from_secs(5), trying).await.unwrap();
    let outcome = outcome.unwrap().unwrap();
    assert_eq!(outcome, AllAcquisition::RequestEnded);
    holds(&store, "tries-1", "next").await;
    holds(&store, "tries-2", "next").await;
}

pub(super) async fn a_lock_that_rests_is_taken_when_its_delay_is_over(store: Store) {
    let asked = Instant::now();
    let rests = AcquireRequest {
        lock_delay: Duration::from_secs(2),
        ..short(request("all-rests-1", "rests"))
    };
    let tenure = takes(&store, rests).await;
    let trying = tries(&store, &["all-rests-1", "all-rests-2"], LONG);
    let outcome = trying.await.unwrap().unwrap();
    assert!(
        matches!(outcome, AllAcquisition::Acquired(_)),
        "{outcome:?}"
    );
    let least = tenure.until.left_at(asked) + Duration::from_secs(2);
    assert_between(asked.elapsed(), least, Duration::from_millis(8500));
}

pub(super) async fn a_caller_that_leaves_holds_nothing(store: Store) {
    for round in 0..10 {
        let name = |at| format!("leaves-{round}-{at}");
        let (one, two) = (name(1), name(2));
        let other = holds(&store, &two, "other").await;
        let asked = AcquireAllRequest {
            wait: LONG,
            ..exclusive(&[&one, &two])
        };
        let trying = try_for(&store, asked);
        let (released, ()) = tokio::join!(release(&store, &two, &other), async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            trying.abort();
        });
        assert!(released);
        match trying.await {
            // It was told before its caller left: the locks are its own to release.
            Ok(outcome) => {
                let all = all_of(outcome);
                assert!(store.end_session(all.session.id).await.unwrap());
            }
            Err(_) => {
                for name in [&one, &two] {
                    until(&store, name, "it is free", |view| view.holders.is_empty()).await;
                }
            }
        }
        // What was on its way when the caller left may come about, and is undone.
        for name in [&one, &two] {
            takes(&store, patient(request(name, "next"))).await;
        }
    }
}
