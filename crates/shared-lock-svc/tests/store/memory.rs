//! The store in memory, on a clock that is paused: it jumps to whatever is due next.

use std::sync::Arc;

use shared_lock_svc::store::memory::MemoryStore;

use crate::contract;

#[tokio::test(start_paused = true)]
async fn the_memory_store_keeps_the_contract() {
    contract::check(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_memory_store_ends_its_waits() {
    contract::check_close(Arc::new(MemoryStore::new())).await;
}
