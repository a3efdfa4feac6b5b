//! A store whose calls are measured.

use std::{future::Future, sync::Arc, time::Instant};

use async_trait::async_trait;
use prometheus::HistogramVec;
use serde_json::Value;

use super::{Child, DocumentPath, DocumentStore, Read, StoreError, Write};

/// Measures the calls to another store.
pub struct Measured {
    store: Arc<dyn DocumentStore>,
    durations: HistogramVec,
}

impl Measured {
    /// Measures the calls to `store`, by operation and outcome.
    pub fn new(store: Arc<dyn DocumentStore>, durations: HistogramVec) -> Self {
        Self { store, durations }
    }

    async fn measure<T>(
        &self,
        operation: &str,
        call: impl Future<Output = Result<T, StoreError>>,
        outcome: impl Fn(&T) -> &'static str,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let answer = call.await;
        let outcome = match &answer {
            Ok(answer) => outcome(answer),
            Err(StoreError::Unknown(_)) => "unknown",
            Err(StoreError::Busy { .. }) => "busy",
            Err(StoreError::Sealed) => "sealed",
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::Denied(_)) => "denied",
            Err(StoreError::Refused(_)) => "refused",
        };
        self.durations
            .with_label_values(&[operation, outcome])
            .observe(started.elapsed().as_secs_f64());
        answer
    }
}

#[async_trait]
impl DocumentStore for Measured {
    async fn read(&self, path: &DocumentPath) -> Result<Read<Value>, StoreError> {
        let outcome = |read: &Read<Value>| match read {
            Read::Absent => "absent",
            Read::Deleted { .. } => "deleted",
            Read::Present { .. } => "ok",
        };
        self.measure("read", self.store.read(path), outcome).await
    }

    async fn write(
        &self,
        path: &DocumentPath,
        cas: u64,
        data: &Value,
    ) -> Result<Write, StoreError> {
        let outcome = |write: &Write| match write {
            Write::Written => "ok",
            Write::Mismatch => "mismatch",
        };
        self.measure("write", self.store.write(path, cas, data), outcome)
            .await
    }

    async fn list(&self, folder: &DocumentPath) -> Result<Vec<Child>, StoreError> {
        self.measure("list", self.store.list(folder), |_| "ok")
            .await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.store.ready().await
    }

    async fn away(&self) -> Arc<StoreError> {
        self.store.away().await
    }
}
