//! The store in memory, on a clock that is paused: it jumps to whatever is due next.

use std::sync::Arc;

use shared_lock_svc::store::memory::MemoryStore;

use crate::contract::{self, Store};

fn store() -> Store {
    Arc::new(MemoryStore::new())
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_keeps_the_contract() {
    contract::check(store()).await;
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_keeps_the_contract_of_each_capability() {
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
