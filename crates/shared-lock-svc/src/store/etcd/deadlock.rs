//! Requests that would wait for each other for ever: the youngest of each ring is told so.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Core, keys::LockPath, view::Ring};

/// How often the queues are looked at, at most.
const PAUSE: Duration = Duration::from_millis(50);

/// How long to wait before a look that failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

impl Core {
    /// Breaks rings whose youngest request lives here; for ever. Only who joins a queue can close one.
    pub(super) async fn break_rings(self: &Arc<Self>) {
        loop {
            self.view.longer().await;
            if !self.rings_of_ours().is_empty() {
                // The view may be behind: nobody is told of a ring that is broken already.
                match self.catch_up().await {
                    Ok(()) => self.tell_of_rings(),
                    Err(_) => {
                        sleep(RETRY).await;
                        self.view.again();
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }

    fn tell_of_rings(&self) {
        for ring in self.rings_of_ours() {
            if let Some((key, request)) = ring.told_at(&self.replica.id) {
                let path = LockPath::of(key);
                self.view.tell(&path, request, ring.clone());
            }
        }
    }

    fn rings_of_ours(&self) -> Vec<Ring> {
        let mut rings = self.view.rings();
        rings.retain(|ring| ring.told_at(&self.replica.id).is_some());
        rings
    }
}
