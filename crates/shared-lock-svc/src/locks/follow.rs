//! What the service itself makes of the events: it counts them, and who holds how much.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::sleep,
};
use tracing::{info, warn};

use super::holdings::Holdings;
use crate::{
    cache::LeaseCache,
    lease::{EventKind, LockEvent, LockKey, LockView, PageRequest},
    metrics::LockMetrics,
    store::{Store, StoreError},
};

/// Follows the events of `store` until they end. It listens from the moment of the call.
pub(super) fn follow(
    store: Arc<dyn Store>,
    metrics: LockMetrics,
    holdings: Option<Arc<Holdings>>,
    cache: Option<Arc<LeaseCache>>,
) -> impl Future<Output = ()> {
    let events = store.events();
    let follower = Follower {
        store,
        events,
        metrics,
        holdings,
        cache,
        last_released: None,
    };
    follower.run()
}

struct Follower {
    store: Arc<dyn Store>,
    events: Receiver<Arc<LockEvent>>,
    metrics: LockMetrics,
    holdings: Option<Arc<Holdings>>,
    cache: Option<Arc<LeaseCache>>,
    last_released: Option<(LockKey, u64)>,
}

impl Follower {
    async fn run(mut self) {
        self.list_anew().await;
        loop {
            match self.events.recv().await {
                Ok(event) => self.happened(&event),
                Err(RecvError::Lagged(count)) => {
                    self.metrics.events_missed(count);
                    if let Some(cache) = &self.cache {
                        cache.clear();
                    }
                    self.list_anew().await;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn happened(&mut self, event: &LockEvent) {
        if let Some(holdings) = &self.holdings {
            holdings.happened(event);
        }
        if let Some(cache) = self.cache.as_ref().filter(|_| event.kind.ends_a_tenure()) {
            cache.forget(&event.key);
        }
        if !event.is_ours {
            return;
        }
        self.metrics.happened(event.kind);
        let place = (event.key.clone(), event.position);
        match event.kind {
            EventKind::Released => self.last_released = Some(place),
            // In one step with the release: nobody else could have come between.
            EventKind::Acquired if self.last_released.as_ref() == Some(&place) => {
                self.metrics.handed_over();
            }
            _ => {}
        }
    }

    /// Events that are in the receiver already are applied to the new list again, which changes
    /// nothing: each says how its own tenure stands.
    async fn list_anew(&self) {
        const AGAIN: Duration = Duration::from_secs(1);
        let Some(holdings) = &self.holdings else {
            return;
        };
        loop {
            match self.whole_list().await {
                Ok(locks) => return holdings.listed(locks.into_iter().collect()),
                Err(StoreError::Unsupported(what)) => {
                    info!(
                        "locks per holder are counted from events alone: the store does not know {what}"
                    );
                    return;
                }
                Err(err) => warn!("locks per holder are not known yet: {err}"),
            }
            sleep(AGAIN).await;
        }
    }

    async fn whole_list(&self) -> Result<HashMap<LockKey, LockView>, StoreError> {
        let mut locks = HashMap::new();
        let mut page = PageRequest {
            prefix: String::new(),
            after: None,
            limit: 500,
        };
        loop {
            let found = self.store.list(&page).await?;
            page.after = found.locks.last().map(|(key, _)| key.clone());
            locks.extend(found.locks);
            if !found.more || page.after.is_none() {
                return Ok(locks);
            }
        }
    }
}
