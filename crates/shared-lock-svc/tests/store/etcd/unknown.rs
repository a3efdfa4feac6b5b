//! Requests whose outcome may stay unknown: what they came to, and what they leave behind.

use std::time::Duration;

use shared_lock_svc::{lease::Acquisition, store::StoreError};
use testbed::{Etcd, eventually};
use tokio::time::sleep;

use crate::contract::{Store, acquired, patient, release, request, until};

/// How many requests were told that they hold, and how many that nobody knows.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) told: usize,
    pub(super) failed: usize,
}

impl Outcomes {
    /// Whoever was told holds, and gives back at `store`.
    pub(super) async fn note(
        &mut self,
        outcome: Result<Acquisition, StoreError>,
        store: &Store,
        name: &str,
    ) {
        match outcome {
            Ok(Acquisition::Acquired(tenure)) => {
                self.told += 1;
                assert!(release(store, name, &tenure).await, "who was told holds");
            }
            Ok(other) => panic!("{other:?}"),
            Err(StoreError::Unavailable(_) | StoreError::Timeout) => self.failed += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Waits until as many of the requests on their way have an answer.
pub(super) async fn some_are_answered(wanted: usize, done: impl Fn() -> usize) {
    eventually(
        "some are answered",
        Duration::from_secs(20),
        async || match done() {
            done if done >= wanted => Ok(()),
            done => Err(format!("{done} of {wanted}")),
        },
    )
    .await
    .unwrap();
}

/// Stops etcd for longer than anybody waits for it.
pub(super) async fn stops(etcd: &Etcd) {
    etcd.pause().unwrap();
    sleep(Duration::from_millis(2_500)).await;
    etcd.resume().unwrap();
}

/// Free now, or soon; and taken by the next.
pub(super) async fn is_free(store: &Store, name: &str) {
    until(store, name, "the lock is free", |view| {
        view.holders.is_empty() && view.waiters.is_empty()
    })
    .await;
    let next = patient(request(name, "next"));
    let next = acquired(store.acquire(next).await);
    assert!(release(store, name, &next).await, "nobody else ends it");
}
