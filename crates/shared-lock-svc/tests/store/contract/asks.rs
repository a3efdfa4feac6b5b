//! What the behaviours ask of a store, in few words.

use std::{collections::BTreeMap, fmt::Debug, num::NonZeroU32, sync::Arc, time::Duration};

use shared_lock_svc::{
    lease::{
        AcquireRequest, Acquisition, Anchor, Claim, Held, Holder, LockKey, LockView, Mode, Note,
        RequestId, Session, SessionRequest, Tenure,
    },
    store::{Release, StoreError},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::Store;

/// Longer than any behaviour lasts.
pub(crate) const LONG: Duration = Duration::from_secs(50);

/// A request for `key` that does not wait, with a TTL that no test sees the end of.
pub(crate) fn request(key: &str, holder: &str) -> AcquireRequest {
    AcquireRequest {
        key: self::key(key),
        holder: Holder::try_from(holder.to_owned()).unwrap(),
        anchor: Anchor::Own(Duration::from_secs(120)),
        mode: Mode::Exclusive,
        wait: Duration::ZERO,
        lock_delay: Duration::ZERO,
        request_id: RequestId::random(),
        metadata: BTreeMap::new(),
        value: holder.to_owned(),
        trace_id: None,
    }
}

pub(crate) fn key(key: &str) -> LockKey {
    LockKey::parse_compat(key).unwrap()
}

/// The tenure of an acquire that must succeed.
pub(crate) fn acquired(outcome: Result<Acquisition, StoreError>) -> Tenure {
    match outcome {
        Ok(Acquisition::Acquired(tenure)) => tenure,
        other => panic!("expected a tenure, got {other:?}"),
    }
}

/// Takes a free lock.
pub(crate) async fn holds(store: &Store, key: &str, holder: &str) -> Tenure {
    acquired(store.acquire(request(key, holder)).await)
}

/// Starts an acquire.
pub(crate) fn start(
    store: &Store,
    request: AcquireRequest,
) -> JoinHandle<Result<Acquisition, StoreError>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.acquire(request).await })
}

/// Starts an acquire and returns once it is seen in the queue.
pub(crate) async fn waits(
    store: &Store,
    key: &str,
    holder: &str,
    wait: Duration,
) -> JoinHandle<Result<Acquisition, StoreError>> {
    queued(
        store,
        AcquireRequest {
            wait,
            ..request(key, holder)
        },
    )
    .await
}

/// The tenure of a waiter that gets the lock by what happened, and not at the end of some life.
pub(crate) async fn comes_soon(waiter: JoinHandle<Result<Acquisition, StoreError>>) -> Tenure {
    let outcome = timeout(Duration::from_secs(2), waiter).await;
    acquired(outcome.unwrap().unwrap())
}

/// Starts `request` and returns once it is seen in the queue.
pub(crate) async fn queued(
    store: &Store,
    request: AcquireRequest,
) -> JoinHandle<Result<Acquisition, StoreError>> {
    let (key, holder) = (request.key.clone(), request.holder.clone());
    let waiter = start(store, request);
    until(store, key.as_str(), "the waiter is queued", |view| {
        view.waiters.iter().any(|waiter| waiter.holder == holder)
    })
    .await;
    waiter
}

pub(crate) async fn release(store: &Store, key: &str, tenure: &Tenure) -> bool {
    store.release(&self::key(key), of(tenure)).await.unwrap()
}

pub(crate) async fn end(store: &Store, key: &str, request: &RequestId) -> bool {
    let release = release_of(Claim::Request(request.clone()));
    store.release(&self::key(key), release).await.unwrap()
}

/// The release of a tenure.
pub(crate) fn of(tenure: &Tenure) -> Release {
    release_of(Claim::Tenure {
        lease_id: tenure.lease_id,
        fencing_token: tenure.fencing_token,
    })
}

/// A release that leaves no note.
pub(crate) fn release_of(claim: Claim) -> Release {
    Release {
        claim,
        note: None,
        trace_id: None,
    }
}

/// Looks at a lock until it is as wanted, and returns how long that took.
pub(crate) async fn until(
    store: &Store,
    key: &str,
    what: &str,
    wanted: impl Fn(&LockView) -> bool,
) -> Duration {
    let started = Instant::now();
    loop {
        let view = store.inspect(&self::key(key)).await.unwrap();
        if wanted(&view) {
            return started.elapsed();
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "never: {what}; the lock is {view:#?}"
        );
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn assert_between<T: PartialOrd + Debug>(value: T, least: T, most: T) {
    assert!(
        value >= least && value <= most,
        "{value:?} is not within {least:?} and {most:?}"
    );
}

/// A request to read.
pub(crate) fn reader(key: &str, holder: &str) -> AcquireRequest {
    AcquireRequest {
        mode: Mode::Shared,
        ..request(key, holder)
    }
}

/// A request for a permit of this weight, under this limit.
pub(crate) fn permit(key: &str, holder: &str, limit: u32, weight: u32) -> AcquireRequest {
    let number = |number| NonZeroU32::new(number).unwrap();
    AcquireRequest {
        mode: Mode::Permit {
            limit: number(limit),
            weight: number(weight),
        },
        ..request(key, holder)
    }
}

/// The same request on the lease of a session.
pub(crate) fn within(session: &Session, request: AcquireRequest) -> AcquireRequest {
    AcquireRequest {
        anchor: Anchor::Session(session.id),
        ..request
    }
}

/// The same request, with a life of its own of two seconds.
pub(crate) fn short(request: AcquireRequest) -> AcquireRequest {
    AcquireRequest {
        anchor: Anchor::Own(Duration::from_secs(2)),
        ..request
    }
}

/// The same request, ready to wait.
pub(crate) fn patient(request: AcquireRequest) -> AcquireRequest {
    AcquireRequest {
        wait: LONG,
        ..request
    }
}

/// Opens a session whose end no behaviour sees, unless it brings it about.
pub(crate) async fn opens(store: &Store, holder: &str) -> Session {
    lives(store, holder, Duration::from_secs(120)).await
}

/// Opens a session of this life.
pub(crate) async fn lives(store: &Store, holder: &str, ttl: Duration) -> Session {
    let holder = Holder::try_from(holder.to_owned()).unwrap();
    store
        .open_session(SessionRequest { holder, ttl })
        .await
        .unwrap()
}

/// Takes what must be free for it.
pub(crate) async fn takes(store: &Store, request: AcquireRequest) -> Tenure {
    acquired(store.acquire(request).await)
}

/// Asks for what is not to be had, without waiting.
pub(crate) async fn refused(store: &Store, request: AcquireRequest) -> Held {
    match store.acquire(request).await {
        Ok(Acquisition::Held(held)) => held,
        other => panic!("expected to be told that it is held, got {other:?}"),
    }
}

/// What a waiter got. It must get it.
pub(crate) async fn gets(waiter: JoinHandle<Result<Acquisition, StoreError>>) -> Tenure {
    acquired(waiter.await.unwrap())
}

/// The names of those who hold a lock and of those who wait for it.
pub(crate) async fn names(store: &Store, key: &str) -> (Vec<String>, Vec<String>) {
    let view = store.inspect(&self::key(key)).await.unwrap();
    let named = |holder: &Holder| holder.as_str().to_owned();
    let holders = view.holders.iter().filter_map(|held| held.holder.as_ref());
    (
        holders.map(named).collect(),
        view.waiters.iter().map(|w| named(&w.holder)).collect(),
    )
}

/// The claim of a tenure.
pub(crate) fn claim(tenure: &Tenure) -> Claim {
    Claim::Tenure {
        lease_id: tenure.lease_id,
        fencing_token: tenure.fencing_token,
    }
}

/// A note of these words.
pub(crate) fn note(words: &str) -> Note {
    Note::try_from(words.to_owned()).unwrap()
}

/// Releases a tenure and leaves a note.
pub(crate) async fn leaves(store: &Store, key: &str, tenure: &Tenure, words: &str) -> bool {
    let release = Release {
        note: Some(note(words)),
        ..of(tenure)
    };
    store.release(&self::key(key), release).await.unwrap()
}
