//! What every store does. One list of behaviours; each has locks of its own, so that they run side
//! by side on one store and wait for their expiries together.

mod expiry;
mod grants;
mod releases;
mod waiting;

use std::{collections::BTreeMap, fmt::Debug, future::Future, pin::Pin, sync::Arc, time::Duration};

use shared_lock_svc::{
    lease::{
        AcquireRequest, Acquisition, Anchor, Claim, Holder, LockKey, LockView, Mode, RequestId,
        Tenure,
    },
    store::{Release, StoreError},
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

pub(crate) type Store = Arc<dyn shared_lock_svc::store::Store>;
type Behaviour = fn(Store) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! behaviours {
    ($($module:ident::$name:ident),* $(,)?) => {
        const BEHAVIOURS: &[(&str, Behaviour)] =
            &[$((stringify!($name), |store| Box::pin($module::$name(store)))),*];
    };
}

behaviours![
    grants::a_free_lock_is_granted,
    grants::a_lease_lives_whole_seconds_from_two_up,
    grants::a_second_holder_is_told_who_holds_the_lock,
    grants::tokens_rise_with_every_grant,
    grants::everybody_sees_holder_and_metadata,
    grants::keys_that_look_alike_are_different_locks,
    grants::a_request_that_holds_is_known,
    grants::an_absurd_ttl_is_refused,
    grants::one_holder_at_a_time_under_load,
    waiting::a_waiter_gets_the_lock_when_it_is_released,
    waiting::waiters_are_served_in_the_order_of_their_arrival,
    waiting::a_wait_that_is_over_ends_and_leaves_the_queue,
    waiting::a_waiter_that_is_dropped_leaves_the_queue_within_a_second,
    waiting::a_waiter_that_is_dropped_as_it_wins_holds_nothing,
    waiting::a_request_that_arrives_again_joins_the_first,
    waiting::a_caller_that_leaves_does_not_end_the_request_of_another,
    releases::a_release_ends_one_tenure_and_is_safe_to_repeat,
    releases::a_late_release_does_not_free_the_next_tenure,
    releases::a_request_id_ends_what_it_holds,
    releases::a_request_id_ends_what_waits,
    releases::a_request_that_was_ended_before_it_came_gets_nothing,
    expiry::a_lock_that_is_not_kept_alive_goes_to_the_next_waiter_and_not_too_early,
    expiry::a_lock_that_is_kept_alive_outlives_its_ttl,
    expiry::only_the_lease_that_holds_keeps_a_lock_alive,
    expiry::a_request_whose_lease_ran_out_frees_the_lock,
];

/// Runs every behaviour on `store`, and fails with the names of those that do not hold.
pub(crate) async fn check(store: Store) {
    let mut running = JoinSet::new();
    for (name, behaviour) in BEHAVIOURS {
        let store = Arc::clone(&store);
        running.spawn(async move {
            let done = tokio::spawn(timeout(Duration::from_secs(60), behaviour(store)));
            (*name, matches!(done.await, Ok(Ok(()))))
        });
    }
    let broken: Vec<_> = running
        .join_all()
        .await
        .into_iter()
        .filter_map(|(name, holds)| (!holds).then_some(name))
        .collect();
    assert!(broken.is_empty(), "the store does not keep: {broken:#?}");
    assert_eq!(
        store.token_epoch().await.unwrap(),
        store.token_epoch().await.unwrap()
    );
    store.ready().await.unwrap();
}

/// A store that is closed ends its waits at once and takes no more; holders go on.
pub(crate) async fn check_close(store: Store) {
    let tenure = holds(&store, "close", "holder").await;
    let waiter = waits(&store, "close", "waiter", Duration::from_secs(50)).await;
    let closing = Instant::now();
    store.close().await;
    let outcome = waiter.await.unwrap();
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(closing.elapsed() < Duration::from_secs(1));
    let outcome = store.acquire(request("other", "late")).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    let kept = store.keep_alive(&key("close"), tenure.lease_id).await;
    assert!(kept.unwrap().is_some());
    assert!(release(&store, "close", &tenure).await);
}

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
