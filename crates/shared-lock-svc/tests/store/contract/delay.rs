//! The pause between the expiry of a tenure and the next one.

use std::time::Duration;

use shared_lock_svc::lease::{AcquireRequest, Acquisition};
use tokio::time::{Instant, sleep};

use super::{
    Store, acquired, assert_between, end, gets, holds, lives, patient, permit, queued, reader,
    refused, release, request, short, takes, until, waits, within,
};

fn delayed(request: AcquireRequest, delay: u64) -> AcquireRequest {
    AcquireRequest {
        lock_delay: Duration::from_secs(delay),
        ..request
    }
}

pub(super) async fn a_lock_rests_after_an_expiry(store: Store) {
    let asked = Instant::now();
    let first = takes(&store, delayed(short(request("rests", "first")), 3)).await;
    until(&store, "rests", "the lease ran out", |view| {
        view.holders.is_empty()
    })
    .await;
    let wishes = [
        request("rests", "writer"),
        reader("rests", "reader"),
        permit("rests", "permit", 2, 1),
    ];
    for wish in wishes {
        let held = refused(&store, wish).await;
        assert_eq!((held.holder, held.lease_id), (None, None));
    }
    let second = loop {
        match store.acquire(request("rests", "second")).await {
            Ok(Acquisition::Held(_)) => sleep(Duration::from_millis(20)).await,
            outcome => break acquired(outcome),
        }
    };
    let least = first.until.left_at(asked) + Duration::from_secs(3);
    assert_between(asked.elapsed(), least, Duration::from_millis(8500));
    assert!(second.fencing_token > first.fencing_token);
}

pub(super) async fn a_waiter_gets_the_lock_when_the_delay_is_over(store: Store) {
    let asked = Instant::now();
    let first = takes(&store, delayed(short(request("rest-over", "first")), 2)).await;
    let waiter = waits(&store, "rest-over", "waiter", super::LONG).await;
    let behind = queued(&store, patient(reader("rest-over", "behind"))).await;
    let second = gets(waiter).await;
    let least = first.until.left_at(asked) + Duration::from_secs(2);
    assert_between(asked.elapsed(), least, Duration::from_millis(7500));
    assert!(release(&store, "rest-over", &second).await);
    gets(behind).await;
}

pub(super) async fn there_is_no_delay_after_a_release(store: Store) {
    let released = Instant::now();
    let first = takes(&store, delayed(request("no-rest", "first"), 60)).await;
    assert!(release(&store, "no-rest", &first).await);
    let asked = delayed(request("no-rest", "second"), 60);
    takes(&store, asked.clone()).await;
    let waiter = waits(&store, "no-rest", "third", super::LONG).await;
    assert!(end(&store, "no-rest", &asked.request_id).await);
    let third = gets(waiter).await;
    assert!(release(&store, "no-rest", &third).await);
    holds(&store, "no-rest", "fourth").await;
    assert!(released.elapsed() < Duration::from_secs(10));
}

pub(super) async fn a_delay_belongs_to_its_tenure_alone(store: Store) {
    let first = takes(&store, delayed(request("own-rest", "first"), 60)).await;
    let waiter = queued(&store, patient(short(request("own-rest", "second")))).await;
    assert!(release(&store, "own-rest", &first).await);
    gets(waiter).await;
    until(&store, "own-rest", "the lease ran out", |view| {
        view.holders.is_empty()
    })
    .await;
    holds(&store, "own-rest", "third").await;
}

pub(super) async fn a_lock_rests_after_the_expiry_of_a_session(store: Store) {
    let opened = Instant::now();
    let session = lives(&store, "rests", Duration::from_secs(2)).await;
    let asked = delayed(within(&session, request("session-rests", "rests")), 2);
    let tenure = takes(&store, asked).await;
    let waiter = waits(&store, "session-rests", "waiter", super::LONG).await;
    gets(waiter).await;
    // The session's life began anew with the grant.
    let least = tenure.until.left_at(opened) + Duration::from_secs(2);
    assert_between(opened.elapsed(), least, Duration::from_millis(7500));
}

pub(super) async fn there_is_no_delay_when_a_session_is_ended(store: Store) {
    let session = lives(&store, "ends", Duration::from_secs(120)).await;
    let asked = delayed(within(&session, request("session-no-rest", "ends")), 60);
    takes(&store, asked).await;
    assert!(store.end_session(session.id).await.unwrap());
    holds(&store, "session-no-rest", "next").await;
}
