//! Sessions: one lease that carries many tenures.

use std::time::Duration;

use shared_lock_svc::{
    lease::{Acquisition, Anchor, Holder, LeaseId, SessionRequest},
    store::StoreError,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Store, assert_between, end, gets, holds, key, lives, names, opens, patient, queued, reader,
    release, request, start, takes, until, waits, within,
};

pub(super) async fn a_session_carries_many_locks(store: Store) {
    let session = opens(&store, "many").await;
    assert_eq!(session.ttl, Duration::from_secs(120));
    assert!(session.until.left() <= session.ttl);
    holds(&store, "elsewhere", "other").await;
    for name in ["many-1", "many-2", "many-3"] {
        let tenure = takes(&store, within(&session, request(name, "many"))).await;
        assert_eq!((tenure.lease_id, tenure.ttl), (session.id, session.ttl));
        assert_between(tenure.until.left(), Duration::from_secs(115), session.ttl);
        let kept = store.keep_alive(&key(name), session.id).await;
        assert_eq!(kept.unwrap().unwrap().ttl, session.ttl);
    }
    let kept = store.keep_alive(&key("elsewhere"), session.id).await;
    assert_eq!(kept.unwrap(), None);
    let kept = store.keep_lease_alive(session.id).await.unwrap().unwrap();
    assert_eq!(kept.ttl, session.ttl);
    assert_ne!(opens(&store, "many").await.id, session.id);
}

pub(super) async fn a_session_lives_whole_seconds_from_two_up(store: Store) {
    let session = lives(&store, "short", Duration::from_millis(1)).await;
    assert_eq!(session.ttl, Duration::from_secs(2));
    let session = lives(&store, "odd", Duration::from_millis(60_001)).await;
    assert_eq!(session.ttl, Duration::from_secs(61));
    let absurd = SessionRequest {
        holder: Holder::unnamed(),
        ttl: Duration::from_secs(9_000_000_001),
    };
    let outcome = store.open_session(absurd).await;
    assert!(
        matches!(outcome, Err(StoreError::Refused(_))),
        "{outcome:?}"
    );
}

pub(super) async fn the_end_of_a_session_frees_all_its_locks(store: Store) {
    let session = opens(&store, "ends").await;
    takes(&store, within(&session, request("ends-1", "ends"))).await;
    let tenure = takes(&store, within(&session, reader("ends-2", "ends"))).await;
    let first = waits(&store, "ends-1", "next", super::LONG).await;
    let second = waits(&store, "ends-2", "next", super::LONG).await;
    assert!(store.end_session(session.id).await.unwrap());
    gets(first).await;
    gets(second).await;
    assert!(!store.end_session(session.id).await.unwrap());
    assert_eq!(store.keep_lease_alive(session.id).await.unwrap(), None);
    assert!(!release(&store, "ends-2", &tenure).await);
    let asked = within(&session, request("ends-3", "ends"));
    let outcome = store.acquire(asked).await.unwrap();
    assert_eq!(outcome, Acquisition::SessionGone);
}

pub(super) async fn a_session_that_is_not_kept_alive_loses_all_its_locks(store: Store) {
    let opened = Instant::now();
    let session = lives(&store, "lapses", Duration::from_secs(2)).await;
    for name in ["lapses-1", "lapses-2"] {
        takes(&store, within(&session, request(name, "lapses"))).await;
    }
    for name in ["lapses-1", "lapses-2"] {
        until(&store, name, "the lock is free", |view| {
            view.holders.is_empty()
        })
        .await;
        let least = session.until.left_at(opened);
        assert_between(opened.elapsed(), least, Duration::from_secs(5));
    }
    assert_eq!(store.keep_lease_alive(session.id).await.unwrap(), None);
    assert!(!store.end_session(session.id).await.unwrap());
}

pub(super) async fn a_session_that_is_kept_alive_keeps_all_its_locks(store: Store) {
    let opened = Instant::now();
    let session = lives(&store, "kept", Duration::from_secs(2)).await;
    for name in ["session-kept-1", "session-kept-2"] {
        takes(&store, within(&session, request(name, "kept"))).await;
    }
    for round in 1..=5 {
        sleep_until(opened + Duration::from_secs(round)).await;
        let kept = match round % 2 {
            0 => store.keep_alive(&key("session-kept-1"), session.id).await,
            _ => store.keep_lease_alive(session.id).await,
        };
        kept.unwrap().expect("the session lives");
    }
    for name in ["session-kept-1", "session-kept-2"] {
        assert_eq!(names(&store, name).await.0, ["kept"]);
    }
    assert!(store.end_session(session.id).await.unwrap());
}

/// Lease and token both name a tenure: the lease is the same each time.
pub(super) async fn a_late_release_does_not_free_the_second_tenure_of_a_session(store: Store) {
    let session = opens(&store, "twice").await;
    let asked = || within(&session, request("twice", "twice"));
    let first = takes(&store, asked()).await;
    assert!(release(&store, "twice", &first).await);
    let second = takes(&store, asked()).await;
    assert_eq!(second.lease_id, first.lease_id);
    assert!(second.fencing_token > first.fencing_token);
    assert!(!release(&store, "twice", &first).await);
    assert_eq!(names(&store, "twice").await.0, ["twice"]);
    assert!(release(&store, "twice", &second).await);
}

pub(super) async fn a_session_may_read_a_lock_twice(store: Store) {
    let session = opens(&store, "reads").await;
    let asked = || within(&session, reader("reads", "reads"));
    let first = takes(&store, asked()).await;
    let second = takes(&store, asked()).await;
    assert!(second.fencing_token > first.fencing_token);
    assert!(release(&store, "reads", &first).await);
    assert!(!release(&store, "reads", &first).await);
    let kept = store.keep_alive(&key("reads"), session.id).await.unwrap();
    assert!(kept.is_some(), "the second tenure is there");
    assert!(release(&store, "reads", &second).await);
    let kept = store.keep_alive(&key("reads"), session.id).await.unwrap();
    assert_eq!(kept, None);
}

pub(super) async fn a_waiter_in_a_session_gets_the_lock_on_its_lease(store: Store) {
    let session = opens(&store, "waits").await;
    let first = holds(&store, "session-waits", "first").await;
    let asked = patient(within(&session, request("session-waits", "waits")));
    let waiter = queued(&store, asked).await;
    assert!(release(&store, "session-waits", &first).await);
    assert_eq!(gets(waiter).await.lease_id, session.id);
}

pub(super) async fn a_waiter_whose_session_ends_is_told_at_once(store: Store) {
    let session = opens(&store, "waiter").await;
    let first = holds(&store, "session-ends", "first").await;
    let asked = || patient(within(&session, request("session-ends", "waiter")));
    let head = queued(&store, asked()).await;
    let other = queued(&store, patient(request("session-ends", "other"))).await;
    let behind = start(&store, asked());
    until(&store, "session-ends", "all wait", |view| {
        view.waiters.len() == 3
    })
    .await;
    assert!(store.end_session(session.id).await.unwrap());
    for waiter in [head, behind] {
        let outcome = timeout(Duration::from_secs(2), waiter).await.unwrap();
        let outcome = outcome.unwrap().unwrap();
        assert_eq!(outcome, Acquisition::SessionGone);
    }
    until(&store, "session-ends", "only the other waits", |view| {
        view.waiters.len() == 1
    })
    .await;
    assert!(release(&store, "session-ends", &first).await);
    let other = gets(other).await;
    assert!(release(&store, "session-ends", &other).await);
    holds(&store, "session-ends", "next").await;
}

pub(super) async fn a_request_that_ends_leaves_its_session_alone(store: Store) {
    let session = opens(&store, "alone").await;
    let asked = within(&session, request("alone-1", "alone"));
    takes(&store, asked.clone()).await;
    takes(&store, within(&session, request("alone-2", "alone"))).await;
    assert!(end(&store, "alone-1", &asked.request_id).await);
    let first = holds(&store, "alone-1", "other").await;
    let waiter = patient(within(&session, request("alone-1", "alone")));
    let waiter = queued(&store, waiter).await;
    waiter.abort();
    until(&store, "alone-1", "the queue is empty", |view| {
        view.waiters.is_empty()
    })
    .await;
    assert!(release(&store, "alone-1", &first).await);
    assert_eq!(names(&store, "alone-2").await.0, ["alone"]);
    assert!(store.keep_lease_alive(session.id).await.unwrap().is_some());
}

pub(super) async fn a_session_that_nobody_opened_is_gone(store: Store) {
    for nonsense in [0, -1, 1, i64::MIN, i64::MAX] {
        let mut asked = request("nobody's", "a");
        asked.anchor = Anchor::Session(LeaseId(nonsense));
        let outcome = store.acquire(asked).await.unwrap();
        assert_eq!(outcome, Acquisition::SessionGone, "{nonsense}");
        assert!(!store.end_session(LeaseId(nonsense)).await.unwrap());
    }
    holds(&store, "nobody's", "b").await;
}
