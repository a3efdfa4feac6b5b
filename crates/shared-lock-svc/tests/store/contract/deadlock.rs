//! Sessions that wait for each other.

use std::time::Duration;

use shared_lock_svc::lease::{AcquireRequest, Acquisition, Session};
use tokio::time::timeout;

use super::{
    LONG, Store, gets, holds, names, opens, patient, permit, queued, reader, refused, release,
    request, takes, waits, within,
};

/// Waits within a session; must be told within a second that it would wait for itself. Returns the
/// cycle as "who waits for what".
async fn deadlocks(store: &Store, session: &Session, request: AcquireRequest) -> Vec<String> {
    let asked = patient(within(session, request));
    let outcome = timeout(Duration::from_secs(1), store.acquire(asked)).await;
    let outcome = outcome.expect("told within a second").unwrap();
    let Acquisition::Deadlock(cycle) = outcome else {
        panic!("expected a deadlock, got {outcome:?}");
    };
    let told = |(key, holder): &(_, _)| format!("{holder} for {key}");
    cycle.iter().map(told).collect()
}

pub(super) async fn two_sessions_that_wait_for_each_other(store: Store) {
    let (one, two) = (opens(&store, "one").await, opens(&store, "two").await);
    takes(&store, within(&one, request("dead-1", "one"))).await;
    let second = takes(&store, within(&two, request("dead-2", "two"))).await;
    let waiter = patient(within(&one, request("dead-2", "one")));
    let waiter = queued(&store, waiter).await;
    let cycle = deadlocks(&store, &two, request("dead-1", "two")).await;
    assert_eq!(cycle, ["two for dead-1", "one for dead-2"]);
    assert_eq!(names(&store, "dead-1").await.1, Vec::<String>::new());
    assert!(release(&store, "dead-2", &second).await);
    gets(waiter).await;
}

pub(super) async fn three_sessions_that_wait_in_a_ring(store: Store) {
    let mut sessions = Vec::new();
    for (name, lock) in [("a", "ring-a"), ("b", "ring-b"), ("c", "ring-c")] {
        let session = opens(&store, name).await;
        takes(&store, within(&session, request(lock, name))).await;
        sessions.push(session);
    }
    let mut waiters = Vec::new();
    for (at, name, lock) in [(0, "a", "ring-b"), (1, "b", "ring-c")] {
        let asked = patient(within(&sessions[at], reader(lock, name)));
        waiters.push(queued(&store, asked).await);
    }
    let cycle = deadlocks(&store, &sessions[2], request("ring-a", "c")).await;
    assert_eq!(cycle, ["c for ring-a", "a for ring-b", "b for ring-c"]);
    assert!(store.end_session(sessions[2].id).await.unwrap());
    gets(waiters.pop().unwrap()).await;
    assert!(store.end_session(sessions[1].id).await.unwrap());
    gets(waiters.pop().unwrap()).await;
}

pub(super) async fn a_reader_that_asks_to_write(store: Store) {
    let session = opens(&store, "upgrades").await;
    takes(&store, within(&session, reader("upgrade", "upgrades"))).await;
    takes(&store, reader("upgrade", "beside")).await;
    let cycle = deadlocks(&store, &session, request("upgrade", "upgrades")).await;
    assert_eq!(cycle, ["upgrades for upgrade"]);
}

/// Nobody is skipped, so whoever waits behind a writer waits for it.
pub(super) async fn a_reader_that_reads_again_behind_a_writer(store: Store) {
    let (reads, writes) = (opens(&store, "r").await, opens(&store, "w").await);
    let first = takes(&store, within(&reads, reader("behind", "r"))).await;
    let writer = patient(within(&writes, request("behind", "w")));
    let writer = queued(&store, writer).await;
    let cycle = deadlocks(&store, &reads, reader("behind", "r")).await;
    assert_eq!(cycle, ["r for behind", "w for behind"]);
    assert!(release(&store, "behind", &first).await);
    gets(writer).await;
}

pub(super) async fn who_does_not_wait_is_told_who_holds(store: Store) {
    let (one, two) = (opens(&store, "one").await, opens(&store, "two").await);
    takes(&store, within(&one, request("no-wait-1", "one"))).await;
    takes(&store, within(&two, request("no-wait-2", "two"))).await;
    let waiter = patient(within(&one, request("no-wait-2", "one")));
    let waiter = queued(&store, waiter).await;
    let held = refused(&store, within(&two, request("no-wait-1", "two"))).await;
    assert_eq!(held.holder.unwrap().as_str(), "one");
    waiter.abort();
}

pub(super) async fn a_chain_is_not_a_ring(store: Store) {
    let (a, b) = (opens(&store, "a").await, opens(&store, "b").await);
    let c = opens(&store, "c").await;
    let first = takes(&store, within(&a, request("chain-1", "a"))).await;
    let second = takes(&store, within(&b, request("chain-2", "b"))).await;
    let behind = patient(within(&b, request("chain-1", "b")));
    let behind = queued(&store, behind).await;
    let last = patient(within(&c, request("chain-2", "c")));
    let last = queued(&store, last).await;
    assert!(release(&store, "chain-2", &second).await);
    gets(last).await;
    assert!(release(&store, "chain-1", &first).await);
    gets(behind).await;
}

/// Whoever holds by a lease of its own is nobody that could be known to wait elsewhere; and another
/// permit may come free.
pub(super) async fn only_sessions_that_read_or_write_are_told(store: Store) {
    holds(&store, "leases-1", "one").await;
    holds(&store, "leases-2", "two").await;
    let first = waits(&store, "leases-2", "one", LONG).await;
    let second = waits(&store, "leases-1", "two", Duration::from_secs(1)).await;

    let (one, two) = (opens(&store, "one").await, opens(&store, "two").await);
    takes(&store, within(&one, permit("permits-1", "one", 1, 1))).await;
    takes(&store, within(&two, permit("permits-2", "two", 1, 1))).await;
    let third = patient(within(&one, permit("permits-2", "one", 1, 1)));
    let third = queued(&store, third).await;
    let fourth = AcquireRequest {
        wait: Duration::from_secs(1),
        ..within(&two, permit("permits-1", "two", 1, 1))
    };
    let fourth = store.acquire(fourth).await.unwrap();
    assert!(matches!(fourth, Acquisition::Held(_)), "{fourth:?}");
    let second = second.await.unwrap().unwrap();
    assert!(matches!(second, Acquisition::Held(_)), "{second:?}");
    first.abort();
    third.abort();
}
