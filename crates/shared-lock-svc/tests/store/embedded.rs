//! The store on a disk of its own: real time, and what is left after a restart.

use std::{path::Path, sync::Arc, time::Duration};

use durable::{Durable, Options};
use shared_lock_svc::{
    lease::{AcquireRequest, Acquisition},
    store::{
        LockFeed, LockStore, StoreError,
        embedded::{EmbeddedError, EmbeddedStore},
    },
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::contract::{
    self, Store, acquired, assert_between, end, holds, key, leaves, lives, note, opens, patient,
    permit, reader, refused, release, request, short, takes, until, waits, within,
};

async fn try_open(dir: &Path) -> Result<EmbeddedStore, EmbeddedError> {
    EmbeddedStore::open(dir, EmbeddedStore::options()).await
}

async fn open(dir: &Path) -> Store {
    Arc::new(try_open(dir).await.unwrap())
}

/// Ends a store as a crash would, and opens its directory again.
async fn reopen(store: Store, dir: &Path) -> Store {
    drop(store);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match try_open(dir).await {
            Ok(store) => return Arc::new(store),
            Err(err) => assert!(Instant::now() < deadline, "{err:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_keeps_the_whole_contract() {
    let dir = TempDir::new().unwrap();
    contract::check_whole(open(dir.path()).await).await;
}

#[tokio::test]
async fn a_closed_embedded_store_ends_its_waits() {
    let dir = TempDir::new().unwrap();
    contract::check_close(open(dir.path()).await).await;
    let dir = TempDir::new().unwrap();
    contract::check_close_of_several(open(dir.path()).await).await;
}

#[tokio::test]
async fn what_is_held_is_held_after_a_restart_and_for_its_full_ttl() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let epoch = store.token_epoch().await.unwrap();
    let asked = AcquireRequest {
        anchor: shared_lock_svc::lease::Anchor::Own(Duration::from_secs(2)),
        metadata: [("team".to_owned(), "a".to_owned())].into(),
        ..request("held", "first")
    };
    let tenure = acquired(store.acquire(asked.clone()).await);
    sleep(Duration::from_millis(1200)).await;

    let store = reopen(store, dir.path()).await;
    let restarted = Instant::now();
    assert_eq!(store.token_epoch().await.unwrap(), epoch);
    let view = store.inspect(&key("held")).await.unwrap();
    assert_eq!(view.holders[0].fencing_token, tenure.fencing_token);
    assert_eq!(view.holders[0].metadata, asked.metadata);
    assert_between(
        view.holders[0].held_for.unwrap(),
        Duration::from_millis(1100),
        Duration::from_secs(4),
    );
    let again = store.acquire(asked).await.unwrap();
    assert_eq!(again, Acquisition::RequestKnown);
    until(&store, "held", "the lease ran out", |view| {
        view.holders.is_empty()
    })
    .await;
    assert_between(
        restarted.elapsed(),
        Duration::from_millis(1900),
        Duration::from_secs(3),
    );
}

#[tokio::test]
async fn a_lease_is_kept_alive_and_released_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let tenure = holds(&store, "kept", "first").await;
    let store = reopen(store, dir.path()).await;
    let kept = store.keep_lease_alive(tenure.lease_id).await.unwrap();
    assert_eq!(kept.unwrap().ttl, tenure.ttl);
    assert!(release(&store, "kept", &tenure).await);
    assert!(!release(&store, "kept", &tenure).await);
}

#[tokio::test]
async fn tokens_rise_across_restarts_also_of_locks_that_were_free() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).await;
    let mut last = None;
    for _ in 0..4 {
        let tenure = holds(&store, "tokens", "a").await;
        assert!(
            last < Some(tenure.fencing_token),
            "{last:?} then {tenure:?}"
        );
        last = Some(tenure.fencing_token);
        assert!(release(&store, "tokens", &tenure).await);
        store = reopen(store, dir.path()).await;
    }
}

#[tokio::test]
async fn what_was_released_or_ended_stays_so_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let asked = request("ended", "a");
    acquired(store.acquire(asked.clone()).await);
    assert!(end(&store, "ended", &asked.request_id).await);
    let store = reopen(store, dir.path()).await;
    let view = store.inspect(&key("ended")).await.unwrap();
    assert!(view.holders.is_empty(), "{view:?}");
    let again = store.acquire(asked).await.unwrap();
    assert_eq!(again, Acquisition::RequestEnded);
}

#[tokio::test]
async fn sessions_and_tenures_of_every_mode_go_on_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let session = opens(&store, "session").await;
    let writer = takes(&store, within(&session, request("written", "session"))).await;
    let first = takes(&store, within(&session, reader("read", "session"))).await;
    let second = takes(&store, within(&session, reader("read", "session"))).await;
    let heavy = takes(&store, permit("weighed", "heavy", 3, 2)).await;
    let ended = opens(&store, "ended").await;
    takes(&store, within(&ended, request("freed", "ended"))).await;
    assert!(store.end_session(ended.id).await.unwrap());

    let store = reopen(store, dir.path()).await;
    let kept = store.keep_lease_alive(session.id).await.unwrap().unwrap();
    assert_eq!(kept.ttl, session.ttl);
    assert_eq!(store.keep_lease_alive(ended.id).await.unwrap(), None);
    holds(&store, "freed", "anybody").await;
    refused(&store, permit("weighed", "too much", 3, 2)).await;
    let light = takes(&store, permit("weighed", "light", 3, 1)).await;
    assert!(light.fencing_token > heavy.fencing_token);
    refused(&store, request("read", "writer")).await;
    assert!(release(&store, "read", &first).await);
    assert!(!release(&store, "read", &first).await);
    refused(&store, request("read", "writer")).await;
    assert!(release(&store, "read", &second).await);
    assert!(release(&store, "written", &writer).await);
    assert!(store.end_session(session.id).await.unwrap());
}

#[tokio::test]
async fn a_session_has_its_full_life_again_after_a_restart_and_then_ends() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let session = lives(&store, "session", Duration::from_secs(2)).await;
    takes(&store, within(&session, request("lapses", "session"))).await;
    sleep(Duration::from_millis(1200)).await;
    let store = reopen(store, dir.path()).await;
    let restarted = Instant::now();
    until(&store, "lapses", "the session ran out", |view| {
        view.holders.is_empty()
    })
    .await;
    let (least, most) = (Duration::from_millis(1900), Duration::from_secs(3));
    assert_between(restarted.elapsed(), least, most);
}

#[tokio::test]
async fn a_note_is_there_after_a_restart_and_so_is_that_it_was_cleared() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    for name in ["noted", "cleared"] {
        let tenure = holds(&store, name, "first").await;
        assert!(leaves(&store, name, &tenure, "high-water 42").await);
    }
    let tenure = holds(&store, "cleared", "second").await;
    assert!(leaves(&store, "cleared", &tenure, "").await);
    let store = reopen(store, dir.path()).await;
    let noted = holds(&store, "noted", "second").await;
    assert_eq!(noted.note, Some(note("high-water 42")));
    assert_eq!(holds(&store, "cleared", "third").await.note, None);
}

#[tokio::test]
async fn a_lock_rests_for_its_whole_delay_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let delayed = AcquireRequest {
        lock_delay: Duration::from_secs(2),
        ..short(request("rests", "first"))
    };
    takes(&store, delayed).await;
    until(&store, "rests", "the lease ran out", |view| {
        view.holders.is_empty()
    })
    .await;
    sleep(Duration::from_millis(1200)).await;
    let store = reopen(store, dir.path()).await;
    let restarted = Instant::now();
    takes(&store, patient(request("rests", "second"))).await;
    let (least, most) = (Duration::from_millis(1900), Duration::from_secs(3));
    assert_between(restarted.elapsed(), least, most);
}

/// Nobody hears of anything before it is on the disk: the feed neither.
#[tokio::test]
async fn an_event_that_could_not_be_synced_is_not_told() {
    let dir = TempDir::new().unwrap();
    let faults = durable::faults::Faults::default();
    let mut options = EmbeddedStore::options();
    options.faults = Some(faults.clone());
    let store = EmbeddedStore::open(dir.path(), options).await.unwrap();
    let mut events = store.events();
    acquired(store.acquire(request("told", "a")).await);
    let told = events.recv().await.unwrap();
    assert_eq!(told.key, key("told"));
    faults.fail_syncs();
    let outcome = store.acquire(request("untold", "a")).await;
    assert!(outcome.is_err(), "{outcome:?}");
    timeout(Duration::from_secs(5), store.failed())
        .await
        .unwrap();
    let untold = timeout(Duration::from_millis(200), events.recv()).await;
    assert!(!matches!(untold, Ok(Ok(_))), "{untold:?}");
}

/// Rows of format 1 knew neither modes nor sessions.
#[tokio::test]
async fn a_directory_of_format_1_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let old = || Durable::open(dir.path(), Options::new("shared-lock-svc", 1));
    let table = old().unwrap();
    let grant = |tx: &mut durable::Transaction<'_>| {
        tx.put("grants", b"jobs", br#"{"request_id":"r"}"#);
        Ok::<_, durable::WriteError>(())
    };
    table.transact(grant).await.unwrap();
    table.close().await;
    let Err(refusal) = try_open(dir.path()).await else {
        panic!("a format that it does not know");
    };
    let told = format!("{:#}", anyhow::Error::from(refusal));
    assert!(
        told.contains("format 1, this version knows only 2"),
        "{told}"
    );
    assert!(old().unwrap().get("grants", b"jobs").unwrap().is_some());
}

#[tokio::test]
async fn waiters_are_gone_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let tenure = holds(&store, "queue", "first").await;
    let waiter = waits(&store, "queue", "second", Duration::from_secs(30)).await;
    waiter.abort();
    assert!(waiter.await.is_err());
    let store = reopen(store, dir.path()).await;
    let view = store.inspect(&key("queue")).await.unwrap();
    assert!(view.waiters.is_empty(), "{view:?}");
    assert!(release(&store, "queue", &tenure).await);
    holds(&store, "queue", "third").await;
}

/// A disk that says no: what was asked fails, nobody is told of a lock that may not be on it, and
/// the store says that this process is at its end.
#[tokio::test]
async fn nothing_is_granted_that_could_not_be_synced() {
    let dir = TempDir::new().unwrap();
    let faults = durable::faults::Faults::default();
    let mut options = EmbeddedStore::options();
    options.faults = Some(faults.clone());
    let store = EmbeddedStore::open(dir.path(), options).await.unwrap();
    let tenure = acquired(store.acquire(request("before", "a")).await);
    faults.fail_syncs();

    let outcome = store.acquire(request("after", "a")).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    timeout(Duration::from_secs(5), store.failed())
        .await
        .unwrap();
    assert!(store.ready().await.is_err());
    let outcome = store.inspect(&key("before")).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );

    let store = reopen(Arc::new(store), dir.path()).await;
    let view = store.inspect(&key("before")).await.unwrap();
    assert_eq!(view.holders[0].fencing_token, tenure.fencing_token);
}

#[tokio::test]
async fn a_directory_has_one_store_at_a_time() {
    let dir = TempDir::new().unwrap();
    let _store = open(dir.path()).await;
    let Err(second) = try_open(dir.path()).await else {
        panic!("two stores on one directory");
    };
    let told = format!("{:#}", anyhow::Error::from(second));
    assert!(told.contains("in use"), "{told}");
}
