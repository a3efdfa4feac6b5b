//! The store in memory, on a clock that is paused: it jumps to whatever is due next.

use std::sync::Arc;

use shared_lock_svc::{
    lease::{AcquireAllRequest, AllAcquisition},
    store::memory::MemoryStore,
};

use tokio::time::Instant;

use crate::contract::{self, LONG, Store, all, end, holds};

fn store() -> Store {
    Arc::new(MemoryStore::new())
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_keeps_the_contract() {
    contract::check(store()).await;
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_keeps_the_contract_of_each_capability() {
    contract::check_leases(store()).await;
    contract::check_modes(store()).await;
    contract::check_sessions(store()).await;
    contract::check_delay(store()).await;
    contract::check_notes(store()).await;
    contract::check_verify(store()).await;
    contract::check_force(store()).await;
    contract::check_all(store()).await;
    contract::check_listing(store()).await;
    contract::check_events(store()).await;
    contract::check_deadlock(store()).await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_memory_store_ends_its_waits() {
    contract::check_close(store()).await;
    contract::check_close_of_several(store()).await;
}

/// Beyond the contract: it is told at once, before any of the locks changes hands.
#[tokio::test(start_paused = true)]
async fn a_request_for_several_locks_that_is_ended_while_it_tries_is_told_at_once() {
    let store = store();
    holds(&store, "held", "other").await;
    let asked = AcquireAllRequest {
        wait: LONG,
        ..all::exclusive(&["free", "held"])
    };
    let id = asked.request_id.clone();
    let trying = all::try_for(&store, asked);
    tokio::task::yield_now().await;
    let ended = Instant::now();
    assert!(!end(&store, "free", &id).await);
    let outcome = trying.await.unwrap().unwrap();
    assert_eq!(outcome, AllAcquisition::RequestEnded);
    assert!(ended.elapsed() < LONG);
}
