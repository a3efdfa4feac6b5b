//! The state machine on a register that can compare and swap, and on one that misbehaves.

pub(crate) mod shelf;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::json;
use shared_lock_svc::{
    lease::Acquisition,
    store::{
        StoreError,
        register::{RegisterOptions, RegisterStore},
    },
};
use tokio::time::Instant;

use self::shelf::{Fate, Shelf};
use crate::contract::{
    self, LONG, Store, acquired, gets, holds, key, names, patient, queued, release, request, short,
    until, waits,
};

/// One replica on a shelf.
fn replica(shelf: &Arc<Shelf>) -> Store {
    let register = Arc::clone(shelf);
    Arc::new(RegisterStore::new(register, RegisterOptions::default()))
}

#[tokio::test(start_paused = true)]
async fn a_store_on_a_register_keeps_the_contract_of_single_locks() {
    contract::check_single_locks(replica(&Arc::default())).await;
}

#[tokio::test(start_paused = true)]
async fn what_spans_locks_is_refused() {
    contract::check_refusals(replica(&Arc::default())).await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_store_on_a_register_ends_its_waits() {
    contract::check_close(replica(&Arc::default())).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_a_swap_a_lock_is_taken_and_given_back_once() {
    let shelf = Arc::new(Shelf::default());
    let store = replica(&shelf);
    let mut last = None;
    for fate in [Fate::AnswerLost, Fate::Lost, Fate::Twice, Fate::Late] {
        shelf.next([fate]);
        let tenure = holds(&store, "lock", "a").await;
        assert!(last < Some(tenure.fencing_token), "{fate:?}");
        last = Some(tenure.fencing_token);
        assert_eq!(names(&store, "lock").await.0, ["a"], "{fate:?}");
        shelf.next([fate]);
        assert!(release(&store, "lock", &tenure).await, "{fate:?}");
        assert!(!release(&store, "lock", &tenure).await, "{fate:?}");
    }
    assert_eq!(last.unwrap().0.get(), 4, "each was granted once");
}

#[tokio::test(start_paused = true)]
async fn a_swap_whose_answer_is_lost_is_found_behind_the_writes_of_others() {
    let shelf = Arc::new(Shelf::default());
    let (store, other) = (replica(&shelf), replica(&shelf));
    let tenure = holds(&store, "lock", "a").await;
    let waiter = waits(&other, "lock", "b", LONG).await;
    // The lock is handed over and taken on before the releaser looks again.
    shelf.next([Fate::Late]);
    let releasing = {
        let store = Arc::clone(&store);
        let tenure = tenure.clone();
        tokio::spawn(async move { release(&store, "lock", &tenure).await })
    };
    assert!(releasing.await.unwrap());
    assert!(gets(waiter).await.fencing_token > tenure.fencing_token);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_served_in_the_order_of_arrival_across_replicas() {
    let shelf = Arc::new(Shelf::default());
    let replicas = [replica(&shelf), replica(&shelf), replica(&shelf)];
    let mut tenure = holds(&replicas[0], "lock", "first").await;
    let mut waiters = Vec::new();
    for place in 0..6 {
        let store = &replicas[place % 3];
        waiters.push(waits(store, "lock", &format!("waiter {place}"), LONG).await);
    }
    for (place, waiter) in waiters.into_iter().enumerate() {
        assert!(release(&replicas[place % 2], "lock", &tenure).await);
        let released = Instant::now();
        tenure = gets(waiter).await;
        assert!(released.elapsed() < Duration::from_secs(1), "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_of_a_replica_that_is_gone_leaves_the_queue() {
    let shelf = Arc::new(Shelf::default());
    let (store, gone) = (replica(&shelf), replica(&shelf));
    let tenure = holds(&store, "lock", "first").await;
    let dead = waits(&gone, "lock", "dead", LONG).await;
    let waiter = waits(&store, "lock", "alive", LONG).await;
    // No word to the register: as a killed process.
    drop(gone);
    dead.abort();
    let took = until(&store, "lock", "the dead one is gone", |view| {
        view.waiters.len() == 1
    })
    .await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(release(&store, "lock", &tenure).await);
    gets(waiter).await;
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_replica_that_is_gone_runs_out_by_the_clock_of_another() {
    let shelf = Arc::new(Shelf::default());
    let (store, gone) = (replica(&shelf), replica(&shelf));
    let tenure = acquired(gone.acquire(short(request("lock", "dead"))).await);
    drop(gone);
    let asked = Instant::now();
    let next = acquired(store.acquire(patient(request("lock", "next"))).await);
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_millis(3500), "{took:?}");
    assert!(next.fencing_token > tenure.fencing_token);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_moves_nothing() {
    let shelf = Arc::new(Shelf::default());
    let store = replica(&shelf);
    let tenure = holds(&store, "lock", "first").await;
    {
        let mut documents = shelf.documents.lock().unwrap();
        let (_, document) = documents.get_mut("lock").unwrap();
        let long_ago = json!("2001-01-01T00:00:00Z");
        document["expires_about"] = long_ago.clone();
        document["holders"][0]["since"] = long_ago.clone();
        document["holders"][0]["expires_about"] = long_ago;
    }
    let other = replica(&shelf);
    let outcome = other.acquire(request("lock", "second")).await.unwrap();
    assert!(matches!(outcome, Acquisition::Held(_)), "{outcome:?}");
    let kept = other.keep_alive(&key("lock"), tenure.lease_id).await;
    assert!(kept.unwrap().is_some(), "and at any replica");
}

#[tokio::test(start_paused = true)]
async fn a_person_reads_in_the_document_who_holds_and_who_waits() {
    let shelf = Arc::new(Shelf::default());
    let store = replica(&shelf);
    let tenure = holds(&store, "team/job", "worker-7").await;
    queued(&store, patient(request("team/job", "worker-8"))).await;
    let document = shelf.document("team~2Fjob");
    assert_eq!(document["key"], "team/job");
    assert_eq!(document["held_by"], "worker-7");
    assert!(document["expires_about"].as_str().unwrap().ends_with('Z'));
    assert_eq!(document["queue"][0]["wish"]["holder"], "worker-8");
    assert!(release(&store, "team/job", &tenure).await);
    assert_eq!(shelf.document("team~2Fjob")["held_by"], "worker-8");
}

#[tokio::test(start_paused = true)]
async fn a_document_of_another_format_is_refused_and_left_as_it_is() {
    let shelf = Arc::new(Shelf::default());
    let store = replica(&shelf);
    holds(&store, "lock", "a").await;
    shelf.documents.lock().unwrap().get_mut("lock").unwrap().1["format"] = json!(2);
    let outcome = replica(&shelf).acquire(request("lock", "b")).await;
    let Err(StoreError::Refused(why)) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(why.contains("format 2"), "{why}");
    assert_eq!(shelf.document("lock")["held_by"], "a");
}

#[tokio::test(start_paused = true)]
async fn waiters_and_ended_requests_are_bounded() {
    let shelf = Arc::new(Shelf::default());
    let store = replica(&shelf);
    let mut tenure = holds(&store, "lock", "first").await;
    let mut waiting = Vec::new();
    for place in 0..64 {
        waiting.push(contract::start(
            &store,
            patient(request("lock", &format!("waiter {place}"))),
        ));
    }
    until(&store, "lock", "all wait", |view| view.waiters.len() == 64).await;
    let one_more = store.acquire(patient(request("lock", "one more"))).await;
    assert!(matches!(one_more, Ok(Acquisition::Held(_))), "{one_more:?}");
    for waiter in waiting {
        waiter.abort();
    }
    for _ in 0..130 {
        assert!(release(&store, "lock", &tenure).await);
        tenure = acquired(store.acquire(patient(request("lock", "again"))).await);
    }
    assert_eq!(
        shelf.document("lock")["ended"].as_array().unwrap().len(),
        128
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_lock_refuses_the_next_holder_and_nobody_that_asks_beside_it() {
    let store = replica(&Arc::default());
    let readers = (0..128).map(|reader| {
        let reader = contract::reader("lock", &format!("reader {reader}"));
        contract::start(&store, reader)
    });
    let mut tenures = Vec::new();
    for reader in readers.collect::<Vec<_>>() {
        tenures.push(gets(reader).await);
    }
    let lock = key("lock");
    let (one_more, renewed) = tokio::join!(
        store.acquire(contract::reader("lock", "one more")),
        store.keep_alive(&lock, tenures[0].lease_id),
    );
    assert!(
        matches!(&one_more, Err(StoreError::Refused(why)) if why.contains("128")),
        "{one_more:?}"
    );
    assert!(matches!(renewed, Ok(Some(_))), "{renewed:?}");
}

#[tokio::test(start_paused = true)]
async fn commands_that_come_together_ride_in_one_swap() {
    let shelf = Arc::new(Shelf::default());
    let store = replica(&shelf);
    let before = shelf.swaps();
    let readers = (0..32).map(|reader| {
        let reader = contract::reader("lock", &format!("reader {reader}"));
        contract::start(&store, reader)
    });
    for reader in readers.collect::<Vec<_>>() {
        gets(reader).await;
    }
    assert!(shelf.swaps() - before <= 2, "{}", shelf.swaps());
}

#[tokio::test(start_paused = true)]
async fn a_silent_register_fails_calls_in_two_seconds_and_then_at_once() {
    let shelf = Arc::new(Shelf::default());
    let store = replica(&shelf);
    let tenure = holds(&store, "lock", "a").await;
    let waiter = waits(&store, "lock", "b", LONG).await;
    shelf.is_silent.store(true, Ordering::SeqCst);
    let asked = Instant::now();
    let outcome = store.acquire(request("other", "x")).await;
    assert!(matches!(outcome, Err(StoreError::Timeout)), "{outcome:?}");
    assert!(asked.elapsed() <= Duration::from_millis(2100));
    let asked = Instant::now();
    for _ in 0..3 {
        let kept = store.keep_alive(&key("lock"), tenure.lease_id).await;
        assert!(matches!(kept, Err(StoreError::Unavailable(_))), "{kept:?}");
        assert!(store.ready().await.is_err());
    }
    assert!(asked.elapsed() < Duration::from_millis(50));
    let outcome = waiter.await.unwrap();
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
    shelf.is_silent.store(false, Ordering::SeqCst);
    let ready = async || store.ready().await;
    testbed::eventually("it answers again", LONG, ready)
        .await
        .unwrap();
    assert_eq!(names(&store, "lock").await.0, ["a"]);
}
