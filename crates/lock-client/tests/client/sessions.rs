//! Many locks on one lease, several at once, and one lock many times.

use std::time::Duration;

use lock_client::{AcquireOptions, Error, LockGuard, Mode, SessionOptions};

use crate::scripted::{Reply, Scripted, for_ttl};
use crate::service::{TTL, client, eventually_free, look, shared, start, waiting};

const SHORT: Duration = Duration::from_secs(2);

fn short(check_locks: bool) -> SessionOptions {
    SessionOptions {
        ttl: SHORT,
        check_locks,
    }
}

#[tokio::test]
async fn the_locks_of_a_session_outlive_its_ttl_together_and_end_together() {
    let service = shared().await;
    let session = client(service.url(), "ann")
        .open_session(short(true))
        .await
        .unwrap();
    let mut guards: Vec<LockGuard> = Vec::new();
    for key in ["s/1", "s/2", "s/3"] {
        let guard = session.try_acquire(key, for_ttl(TTL)).await.unwrap();
        assert_eq!(guard.lease_id(), session.id());
        guards.push(guard);
    }
    tokio::select! {
        () = session.lost() => panic!("the session was lost"),
        () = guards[2].lost() => panic!("a lock was lost"),
        () = tokio::time::sleep(2 * SHORT) => (),
    }
    guards.pop().unwrap().release().await.unwrap();
    eventually_free(service, "s%2F3").await;
    assert!(guards.iter().all(LockGuard::is_valid));
    session.end().await.unwrap();
    assert!(guards.iter().all(|guard| !guard.is_valid()));
    eventually_free(service, "s%2F1").await;
    eventually_free(service, "s%2F2").await;
}

#[tokio::test]
async fn a_session_ends_when_it_and_all_its_guards_are_dropped() {
    let service = shared().await;
    let session = client(service.url(), "ann")
        .open_session(short(false))
        .await
        .unwrap();
    let guard = session.acquire("dropped-session", for_ttl(TTL)).await;
    let guard = guard.unwrap();
    drop(session);
    assert!(guard.is_valid());
    drop(guard);
    eventually_free(service, "dropped-session").await;
}

#[tokio::test]
async fn a_lock_of_a_session_that_is_taken_by_force_is_lost_and_the_others_are_not() {
    let service = shared().await;
    let ann = client(service.url(), "ann");
    let ttl = Duration::from_secs(6);
    let options = SessionOptions {
        ttl,
        check_locks: true,
    };
    let session = ann.open_session(options).await.unwrap();
    let taken = session.acquire("taken", for_ttl(TTL)).await.unwrap();
    let kept = session.acquire("kept", for_ttl(TTL)).await.unwrap();
    ann.force_release("taken", "a test").await.unwrap();
    // One keepalive, on a busy machine; the validity itself would last for longer.
    tokio::time::timeout(ttl / 3 * 2, taken.lost())
        .await
        .unwrap();
    assert!(kept.is_valid() && !session.remaining().is_zero());
}

#[tokio::test]
async fn a_circle_of_sessions_is_told_as_a_deadlock() {
    let service = shared().await;
    let open = async |holder| {
        let options = SessionOptions::default();
        client(service.url(), holder).open_session(options).await
    };
    let (ann, bob) = (open("ann").await.unwrap(), open("bob").await.unwrap());
    let _a = ann.acquire("circle/a", for_ttl(TTL)).await.unwrap();
    let b = bob.acquire("circle/b", for_ttl(TTL)).await.unwrap();
    let one = ann.acquire("circle/b", waiting(TTL, TTL));
    let other = bob.acquire("circle/a", waiting(TTL, TTL));
    tokio::select! {
        outcome = one => assert_deadlock(outcome.unwrap_err()),
        outcome = other => assert_deadlock(outcome.unwrap_err()),
    }
    drop(b);
}

fn assert_deadlock(error: Error) {
    let Error::Server(problem) = error else {
        panic!("{error:?}")
    };
    assert_eq!((problem.status, problem.code.as_str()), (409, "deadlock"));
}

#[tokio::test]
async fn several_locks_are_all_held_or_none() {
    let service = shared().await;
    let (ann, bob) = (client(service.url(), "ann"), client(service.url(), "bob"));
    let wanted = [("all/1", Mode::Exclusive), ("all/2", Mode::Shared)];
    let guards = ann.acquire_all(&wanted, for_ttl(SHORT)).await.unwrap();
    assert_eq!(guards[1].key(), "all/2");
    let again = [("all/0", Mode::Exclusive), ("all/1", Mode::Exclusive)];
    let error = bob.acquire_all(&again, for_ttl(TTL)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Held(held) if held.key == "all/1"),
        "{error:?}"
    );
    assert_eq!(
        look(service, "all%2F0").await["holders"],
        serde_json::json!([])
    );
    tokio::time::sleep(2 * SHORT).await;
    assert!(guards.iter().all(LockGuard::is_valid));
    drop(guards);
    let wait = waiting(TTL, TTL);
    bob.acquire_all(&again, wait).await.unwrap();
}

#[tokio::test]
async fn readers_share_and_a_writer_waits_for_them() {
    let service = shared().await;
    let (ann, bob) = (client(service.url(), "ann"), client(service.url(), "bob"));
    let reading = AcquireOptions {
        mode: Mode::Shared,
        ..for_ttl(TTL)
    };
    let first = ann.acquire("book", reading.clone()).await.unwrap();
    let second = bob.acquire("book", reading).await.unwrap();
    assert!(matches!(
        bob.try_acquire("book", for_ttl(TTL)).await,
        Err(Error::Held(_))
    ));
    drop((first, second));
    let _guard = bob.acquire("book", waiting(TTL, TTL)).await.unwrap();
}

#[tokio::test]
async fn permits_fit_up_to_their_limit() {
    let service = shared().await;
    let ann = client(service.url(), "ann");
    let permit = |weight| AcquireOptions {
        mode: Mode::Permit { limit: 3, weight },
        ..for_ttl(TTL)
    };
    let two = ann.acquire("pool", permit(2)).await.unwrap();
    let _one = ann.acquire("pool", permit(1)).await.unwrap();
    assert!(matches!(
        ann.try_acquire("pool", permit(1)).await,
        Err(Error::Held(_))
    ));
    two.release().await.unwrap();
    let _one = ann.try_acquire("pool", permit(1)).await.unwrap();
    let holders = ann.inspect("pool").await.unwrap().holders;
    assert!(holders.iter().all(|holder| holder.mode
        == Mode::Permit {
            limit: 3,
            weight: 1
        }));
}

#[tokio::test]
async fn a_reentrant_lock_is_counted_and_goes_back_with_the_last_guard() {
    let service = shared().await;
    let ann = client(service.url(), "ann");
    let reentrant = AcquireOptions {
        reentrant: true,
        ..waiting(TTL, TTL)
    };
    let asked = (0..5).map(|_| ann.acquire("counted", reentrant.clone()));
    let mut guards = futures_util::future::try_join_all(asked).await.unwrap();
    guards.push(guards[0].again());
    let token = guards[0].fencing_token();
    assert!(guards.iter().all(|guard| guard.fencing_token() == token));
    // Whoever does not ask for it in this way is somebody else.
    let other = ann.try_acquire("counted", for_ttl(TTL)).await;
    assert!(matches!(other, Err(Error::Held(_))));
    let last = guards.pop().unwrap();
    for guard in guards {
        guard.release().await.unwrap();
    }
    assert!(last.is_valid() && last.verify().await.unwrap());
    last.release().await.unwrap();
    eventually_free(service, "counted").await;
    let next = ann.acquire("counted", reentrant).await.unwrap();
    assert!(next.fencing_token() > token);
}

#[tokio::test]
async fn whoever_waited_for_another_of_us_asks_for_what_is_left_of_its_wait() {
    let server = Scripted::start(|request, before| match (request.action.as_str(), before) {
        ("acquire", 0) => Reply::After(
            Duration::from_millis(500),
            Box::new(Reply::problem(409, "lock-held")),
        ),
        ("acquire", _) => Reply::granted(request, 7, TTL),
        _ => Reply::released(true),
    })
    .await;
    let ann = server.client();
    let reentrant = |wait| AcquireOptions {
        reentrant: true,
        ..waiting(TTL, wait)
    };
    let (first, second) = tokio::join!(
        ann.acquire("k", reentrant(Duration::from_millis(500))),
        ann.acquire("k", reentrant(Duration::from_secs(5)))
    );
    assert!(matches!(first, Err(Error::Held(_))), "{first:?}");
    let _guard = second.unwrap();
    let asked = server.requests("acquire");
    assert!(asked[1].body["wait_ms"].as_u64().unwrap() <= 4500);
}

#[tokio::test]
async fn a_guard_survives_a_restart_of_its_service_on_a_durable_store() {
    let service = testbed::Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "embedded")
        .start()
        .await
        .unwrap();
    let ann = client(service.url(), "ann");
    let guard = ann.acquire("restarted", for_ttl(TTL)).await.unwrap();
    service.restart().await.unwrap();
    let lost = tokio::time::timeout(TTL + Duration::from_secs(1), guard.lost());
    assert!(lost.await.is_err(), "it was lost");
    assert!(guard.verify().await.unwrap());
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_busy_runtime_does_not_stop_the_renewal() {
    let service = start().await;
    let guard = client(service.url(), "ann")
        .acquire("busy", for_ttl(SHORT))
        .await
        .unwrap();
    let started = std::time::Instant::now();
    // The one thread of this runtime does nothing else meanwhile.
    while started.elapsed() < 2 * SHORT {
        std::hint::spin_loop();
    }
    assert!(guard.is_valid());
    assert!(guard.verify().await.unwrap());
}
