//! A store that is known to be away before anybody has waited for it.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use anyhow::anyhow;
use async_trait::async_trait;
use serde_json::Value;

use super::{Child, DocumentPath, DocumentStore, Read, StoreError, Write};
use crate::{
    breaker::{Breaker, Fault, REFUSAL, Watch},
    metrics::Metrics,
};

/// Fails the calls to another store while that is away.
pub struct Watched {
    store: Arc<dyn DocumentStore>,
    breaker: Breaker<Arc<StoreError>>,
}

impl Watched {
    /// Watches `store`, once [`Watched::watch`] runs.
    pub fn new(store: Arc<dyn DocumentStore>) -> Arc<Self> {
        Arc::new(Self {
            store,
            breaker: Breaker::closed(),
        })
    }

    /// Asks the store, which is called `name` and may be silent for so long, whether it is ready.
    pub async fn watch(
        self: Arc<Self>,
        name: &'static str,
        silence: Duration,
        metrics: Metrics,
    ) -> Infallible {
        let silent = anyhow!("no answer within {silence:?}");
        let watch = Watch {
            name,
            silence,
            silent: Arc::new(StoreError::Unavailable(silent)),
            up: metrics.dependency_up.with_label_values(&[name]),
            outages: metrics.dependency_outages.with_label_values(&[name]),
        };
        let probe = || async {
            let error = match self.store.ready().await {
                Err(error) => error,
                Ok(()) => return Ok(()),
            };
            let patience = match error {
                StoreError::Sealed => Duration::ZERO,
                StoreError::Unavailable(_) => REFUSAL,
                StoreError::Unknown(_) => silence,
                // It is there.
                StoreError::Busy { .. } | StoreError::Denied(_) | StoreError::Refused(_) => {
                    return Ok(());
                }
            };
            let error = Arc::new(error);
            Err(Fault { error, patience })
        };
        self.breaker.clone().watch(watch, probe).await
    }

    async fn unless_away<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if let Some(error) = self.breaker.outage() {
            return Err(told_of(&error));
        }
        let answer = tokio::select! {
            biased;
            answer = call => answer,
            // The call was begun: a write may have happened.
            error = self.breaker.away() => return Err(StoreError::Unknown(anyhow!(error))),
        };
        if answer.is_ok() {
            self.breaker.answered();
        }
        answer
    }
}

/// The error of a call that was not made.
fn told_of(outage: &Arc<StoreError>) -> StoreError {
    match **outage {
        StoreError::Sealed => StoreError::Sealed,
        _ => StoreError::Unavailable(anyhow!(Arc::clone(outage))),
    }
}

#[async_trait]
impl DocumentStore for Watched {
    async fn read(&self, path: &DocumentPath) -> Result<Read<Value>, StoreError> {
        self.unless_away(self.store.read(path)).await
    }

    async fn write(
        &self,
        path: &DocumentPath,
        cas: u64,
        data: &Value,
    ) -> Result<Write, StoreError> {
        self.unless_away(self.store.write(path, cas, data)).await
    }

    async fn list(&self, folder: &DocumentPath) -> Result<Vec<Child>, StoreError> {
        self.unless_away(self.store.list(folder)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        match self.breaker.outage() {
            Some(error) => Err(told_of(&error)),
            None => self.store.ready().await,
        }
    }

    async fn away(&self) -> Arc<StoreError> {
        self.breaker.away().await
    }
}
