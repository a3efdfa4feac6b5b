//! The client and the real shared-lock-svc, as its shipped binary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lock_client::{AcquireOptions, ClientOptions, Error, LockClient, LockGuard};
use serde_json::{Value, json};
use testbed::{FaultProxy, RunningService, Service, eventually};
use tokio::sync::OnceCell;

use crate::scripted::for_ttl;

pub(crate) const TTL: Duration = Duration::from_secs(10);

/// The service that all tests share which do not break it; each test has keys of its own.
pub(crate) async fn shared() -> &'static RunningService {
    static SERVICE: OnceCell<RunningService> = OnceCell::const_new();
    SERVICE.get_or_init(async || start().await).await
}

pub(crate) async fn start() -> RunningService {
    Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "memory")
        .start()
        .await
        .unwrap()
}

pub(crate) fn client(url: &str, holder: &str) -> LockClient {
    let mut options = ClientOptions::new([url], holder);
    options.request_timeout = Duration::from_millis(500);
    LockClient::new(options).unwrap()
}

pub(crate) fn waiting(ttl: Duration, wait: Duration) -> AcquireOptions {
    AcquireOptions {
        ttl,
        wait,
        ..AcquireOptions::default()
    }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap()
}

/// The service's own word on a lock.
pub(crate) async fn look(service: &RunningService, key: &str) -> Value {
    let url = format!("{}/v1/locks/{key}", service.url());
    let answer = http().get(url).send().await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

pub(crate) async fn eventually_free(service: &RunningService, key: &str) {
    eventually(
        "nobody holds or waits",
        Duration::from_secs(5),
        async || {
            let lock = look(service, key).await;
            if lock["holders"] == json!([]) && lock["waiters"] == json!([]) {
                Ok(())
            } else {
                Err(lock)
            }
        },
    )
    .await
    .unwrap();
}

pub(crate) async fn eventually_waiting(service: &RunningService, key: &str, holder: &str) {
    eventually("it waits", Duration::from_secs(5), async || {
        let lock = look(service, key).await;
        let waiters = lock["waiters"].as_array().unwrap();
        if waiters.iter().any(|waiter| waiter["holder"] == holder) {
            Ok(())
        } else {
            Err(lock)
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_lock_is_taken_seen_refused_to_others_and_given_back() {
    let service = shared().await;
    let (ann, bob) = (client(service.url(), "ann"), client(service.url(), "bob"));
    let mut options = for_ttl(TTL);
    options
        .metadata
        .insert("job".to_owned(), "report".to_owned());
    let guard = ann.acquire("simple", options).await.unwrap();

    let holder = &look(service, "simple").await["holders"][0];
    assert_eq!(holder["holder"], "ann");
    assert_eq!(holder["fencing_token"], guard.fencing_token().to_string());
    assert_eq!(holder["token_epoch"], guard.token_epoch());
    assert_eq!(holder["metadata"], json!({ "job": "report" }));

    let error = bob.try_acquire("simple", for_ttl(TTL)).await.unwrap_err();
    let Error::Held(held) = error else {
        panic!("{error:?}")
    };
    assert_eq!(held.holder.as_deref(), Some("ann"));
    assert!(held.remaining.unwrap() <= TTL);

    let token = guard.fencing_token();
    guard.release().await.unwrap();
    let guard = bob.try_acquire("simple", for_ttl(TTL)).await.unwrap();
    assert!(guard.fencing_token() > token);
}

#[tokio::test]
async fn every_key_that_is_allowed_names_one_lock_and_no_other() {
    let service = shared().await;
    let locks = client(service.url(), "ann");
    let long = "x".repeat(1024);
    let mut guards: Vec<LockGuard> = Vec::new();
    for key in [
        "a",
        "A",
        "a/acquire",
        "a%2Facquire",
        "a b",
        "ä/ö",
        "...",
        "?",
        "#",
        "+",
        " ",
        "~",
        &long,
    ] {
        guards.push(locks.try_acquire(key, for_ttl(TTL)).await.unwrap());
        let again = locks.try_acquire(key, for_ttl(TTL)).await.unwrap_err();
        assert!(matches!(again, Error::Held(_)), "{key}: {again:?}");
    }
    for guard in guards {
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_waiter_gets_the_lock_when_it_is_given_back() {
    let service = shared().await;
    let first = client(service.url(), "ann")
        .acquire("queue", for_ttl(TTL))
        .await
        .unwrap();
    let token = first.fencing_token();
    let bob = client(service.url(), "bob");
    let waiter =
        tokio::spawn(async move { bob.acquire("queue", waiting(TTL, TTL)).await.unwrap() });
    eventually_waiting(service, "queue", "bob").await;
    first.release().await.unwrap();
    let second = waiter.await.unwrap();
    assert!(second.fencing_token() > token && second.is_valid());
}

#[tokio::test]
async fn a_wait_that_ends_in_vain_tells_who_has_the_lock() {
    let service = shared().await;
    let _guard = client(service.url(), "ann")
        .acquire("vain", for_ttl(TTL))
        .await
        .unwrap();
    let bob = client(service.url(), "bob");
    let error = bob
        .acquire("vain", waiting(TTL, Duration::from_millis(300)))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Held(held) if held.holder.as_deref() == Some("ann")),
        "{error:?}"
    );
    assert_eq!(look(service, "vain").await["waiters"], json!([]));
}

#[tokio::test]
async fn a_guard_outlives_its_ttl_many_times() {
    let service = shared().await;
    let ttl = Duration::from_secs(1);
    let guard = client(service.url(), "ann")
        .acquire("long", for_ttl(ttl))
        .await
        .unwrap();
    let taken = Instant::now();
    let bob = client(service.url(), "bob");
    while taken.elapsed() < 4 * ttl {
        let error = bob
            .acquire("long", waiting(ttl, Duration::from_millis(200)))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Held(_)), "{error:?}");
        assert!(guard.is_valid());
    }
    guard.release().await.unwrap();
}

#[tokio::test]
async fn an_acquire_dropped_half_way_leaves_nothing_held_and_nothing_waiting() {
    let service = shared().await;
    let first = client(service.url(), "ann")
        .acquire("dropped", for_ttl(TTL))
        .await
        .unwrap();
    let bob = client(service.url(), "bob");
    tokio::select! {
        outcome = bob.acquire("dropped", waiting(TTL, TTL)) => panic!("{outcome:?}"),
        () = eventually_waiting(service, "dropped", "bob") => (),
    }
    first.release().await.unwrap();
    eventually_free(service, "dropped").await;
}

#[tokio::test]
async fn acquires_dropped_at_any_moment_leave_nothing_held() {
    let service = shared().await;
    let locks = client(service.url(), "ann");
    for step in 0..60 {
        let taken = locks.acquire("moments", waiting(TTL, TTL));
        // From "not yet sent" to "granted and dropped".
        let _ = tokio::time::timeout(Duration::from_micros(50 * step), taken).await;
    }
    eventually_free(service, "moments").await;
}

#[tokio::test]
async fn an_acquire_whose_answer_got_lost_does_not_block_its_own_repetition() {
    let service = shared().await;
    let proxy = FaultProxy::start(service.url()).await.unwrap();
    let locks = client(&proxy.url(), "ann");
    proxy.drop_answer_to("/v1/locks/lost-answer/acquire");
    let started = Instant::now();
    let guard = locks
        .try_acquire("lost-answer", for_ttl(TTL))
        .await
        .unwrap();
    assert_eq!(proxy.answers_dropped(), 1);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    let lock = look(service, "lost-answer").await;
    assert_eq!(lock["holders"].as_array().unwrap().len(), 1);
    assert_eq!(
        lock["holders"][0]["fencing_token"],
        guard.fencing_token().to_string()
    );
}

#[tokio::test]
async fn a_release_whose_answer_got_lost_has_released() {
    let service = shared().await;
    let proxy = FaultProxy::start(service.url()).await.unwrap();
    let guard = client(&proxy.url(), "ann")
        .acquire("lost-release", for_ttl(TTL))
        .await
        .unwrap();
    proxy.drop_answer_to("/v1/locks/lost-release/release");
    guard.release().await.unwrap();
    assert_eq!(proxy.answers_dropped(), 1);
    assert_eq!(look(service, "lost-release").await["holders"], json!([]));
}

#[tokio::test]
async fn a_release_that_arrives_late_and_twice_does_not_free_the_next_holder() {
    let service = shared().await;
    let first = client(service.url(), "ann")
        .acquire("late", for_ttl(TTL))
        .await
        .unwrap();
    let release =
        json!({ "lease_id": first.lease_id(), "fencing_token": first.fencing_token().to_string() });
    first.release().await.unwrap();
    let second = client(service.url(), "bob")
        .acquire("late", for_ttl(TTL))
        .await
        .unwrap();
    let url = format!("{}/v1/locks/late/release", service.url());
    let answer = http().post(url).json(&release).send().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(answer, json!({ "released": false }));
    let lock = look(service, "late").await;
    assert_eq!(
        lock["holders"][0]["fencing_token"],
        second.fencing_token().to_string()
    );
    second.release().await.unwrap();
}

#[tokio::test]
async fn a_guard_cut_off_is_lost_before_the_service_gives_the_lock_to_another() {
    let service = shared().await;
    let proxy = FaultProxy::start(service.url()).await.unwrap();
    let ttl = Duration::from_secs(2);
    let guard = client(&proxy.url(), "ann")
        .acquire("cut-off", for_ttl(ttl))
        .await
        .unwrap();
    let bob = client(service.url(), "bob");
    let next = tokio::spawn(async move {
        let guard = bob.acquire("cut-off", waiting(TTL, TTL)).await.unwrap();
        (Instant::now(), guard)
    });
    eventually_waiting(service, "cut-off", "bob").await;
    proxy.silent().await.unwrap();
    guard.lost().await;
    let lost = Instant::now();
    assert!(!guard.is_valid());
    // The service still counts it as ours.
    assert_eq!(
        look(service, "cut-off").await["holders"][0]["holder"],
        "ann"
    );
    let (given, second) = next.await.unwrap();
    assert!(lost < given);
    assert!(second.fencing_token() > guard.fencing_token());
}

#[tokio::test]
async fn a_guard_of_a_paused_service_is_lost_before_its_lease_is_over() {
    let service = start().await;
    let ttl = Duration::from_secs(2);
    let guard = client(service.url(), "ann")
        .acquire("paused", for_ttl(ttl))
        .await
        .unwrap();
    let taken = Instant::now();
    service.pause().unwrap();
    guard.lost().await;
    assert!(taken.elapsed() < ttl, "{:?}", taken.elapsed());
    service.resume().unwrap();
    drop(guard);
    eventually_free(&service, "paused").await;
}

#[tokio::test]
async fn a_guard_of_a_killed_service_is_lost_in_time_and_the_client_finds_the_next_one() {
    let service = start().await;
    let locks = client(service.url(), "ann");
    let ttl = Duration::from_secs(2);
    let guard = locks.acquire("killed", for_ttl(ttl)).await.unwrap();
    let taken = Instant::now();
    service.kill().unwrap();
    guard.lost().await;
    assert!(taken.elapsed() < ttl, "{:?}", taken.elapsed());
    service.restart().await.unwrap();
    let again = locks.acquire("killed", for_ttl(ttl)).await.unwrap();
    assert!(again.is_valid());
}

#[tokio::test]
async fn two_clients_never_hold_at_once_and_tokens_only_rise() {
    let service = shared().await;
    let (inside, newest, turns) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let locks = client(service.url(), &format!("worker-{worker}"));
        let (inside, newest, turns) =
            (Arc::clone(&inside), Arc::clone(&newest), Arc::clone(&turns));
        workers.spawn(async move {
            for turn in 0..20 {
                let guard = locks
                    .acquire("contended", waiting(TTL, Duration::from_secs(60)))
                    .await
                    .unwrap();
                assert_eq!(
                    inside.fetch_add(1, Ordering::SeqCst),
                    0,
                    "somebody else is inside"
                );
                let before = newest.swap(guard.fencing_token(), Ordering::SeqCst);
                assert!(
                    guard.fencing_token() > before,
                    "{} after {before}",
                    guard.fencing_token()
                );
                tokio::task::yield_now().await;
                turns.fetch_add(1, Ordering::SeqCst);
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                // Every other turn is given back by drop alone.
                if turn % 2 == 0 {
                    guard.release().await.unwrap();
                }
            }
        });
    }
    workers.join_all().await;
    assert_eq!(turns.load(Ordering::SeqCst), 160);
    eventually_free(service, "contended").await;
}

#[tokio::test]
async fn a_guard_outlives_the_replica_that_granted_it() {
    let etcd = testbed::Etcd::start().await.unwrap();
    let replica = async || {
        let service = Service::new("shared-lock-svc").env("SHARED_LOCK_STORAGE_TYPE", "etcd");
        service
            .env("SHARED_LOCK_ETCD_ADDR_LIST", etcd.endpoint())
            .start()
            .await
            .unwrap()
    };
    let (first, second) = tokio::join!(replica(), replica());
    let locks = LockClient::new(ClientOptions::new([first.url(), second.url()], "ann")).unwrap();
    let ttl = Duration::from_secs(3);
    let guard = locks.acquire("replicas", for_ttl(ttl)).await.unwrap();
    first.kill().unwrap();
    let killed = Instant::now();
    let bob = client(second.url(), "bob");
    while killed.elapsed() < 2 * ttl {
        let error = bob
            .acquire("replicas", waiting(ttl, Duration::from_millis(300)))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Held(_)), "{error:?}");
        assert!(guard.is_valid());
    }
    let token = guard.fencing_token();
    guard.release().await.unwrap();
    let next = bob.acquire("replicas", waiting(ttl, ttl)).await.unwrap();
    assert!(next.fencing_token() > token);
}
