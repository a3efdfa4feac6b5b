//! The allocator by itself, on a store that fails in ways no store should.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use hostname_svc::{
    allocator::{AllocateError, Allocator, Limits, Remarks, Want, Wish, WithoutLocks},
    hostname::Prefix,
    locks::PrefixLocks,
    metrics::Metrics,
    policy::Policies,
    store::{Child, DocumentPath, DocumentStore, Read, StoreError, Write},
};
use serde_json::Value;
use tokio::time::Instant;

use crate::app::{lock_service, unique};

const PATIENCE: Duration = Duration::from_secs(60);

/// A store with a defect.
struct Panicking;

#[async_trait]
impl DocumentStore for Panicking {
    async fn read(&self, _: &DocumentPath) -> Result<Read<Value>, StoreError> {
        panic!("a defect, for this test");
    }

    async fn write(&self, _: &DocumentPath, _: u64, _: &Value) -> Result<Write, StoreError> {
        panic!("a defect, for this test");
    }

    async fn list(&self, _: &DocumentPath) -> Result<Vec<Child>, StoreError> {
        Ok(Vec::new())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn away(&self) -> Arc<StoreError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_cycle_that_panics_is_an_internal_error_and_no_matter_of_the_lock() {
    let urls = [lock_service().await.url().to_owned()];
    let ttl = Duration::from_secs(3);
    let locks = PrefixLocks::new(&urls, "a test", &unique("panics"), ttl).unwrap();
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let limits = Limits {
        max_hold: Duration::from_millis(500),
        budget: PATIENCE,
        max_batch: 8,
        max_queue: 8,
        max_waiting: 8,
        parallel: 8,
        store_silence: PATIENCE,
        without_locks: WithoutLocks::Refuse,
        idle: Duration::from_secs(1),
        policies: Policies::default(),
    };
    let store = Arc::new(Panicking);
    let allocator = Allocator::new(store, locks, metrics, "a test".to_owned(), limits);
    let [application, role, environment] = ["splunk", "web", "dev"].map(str::to_owned);
    let prefix = Prefix::new(
        application.try_into().unwrap(),
        role.try_into().unwrap(),
        environment.try_into().unwrap(),
    );
    let wish = Wish {
        prefix: prefix.unwrap(),
        want: Want::One,
        remarks: Remarks::default(),
    };
    // The second time shows that the queue has got a new task.
    for request_id in ["one", "two"] {
        let deadline = Instant::now() + PATIENCE;
        let outcome = allocator.allocate(wish.clone(), None, request_id, deadline);
        let error = outcome.await.unwrap_err();
        assert!(matches!(error, AllocateError::Internal), "{error:?}");
    }
}
