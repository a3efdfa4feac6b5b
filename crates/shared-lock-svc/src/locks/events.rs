//! What happens to locks, for one listener.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::{lease::LockEvent, metrics::StreamPlace};

/// The events of all locks, in order for each lock.
pub struct Events {
    receiver: broadcast::Receiver<Arc<LockEvent>>,
    closing: CancellationToken,
    /// One of the places that there are for listeners.
    _place: StreamPlace,
}

/// What a listener hears.
#[derive(Debug)]
pub enum Happened {
    /// An event.
    Event(Arc<LockEvent>),
    /// It was too slow: as many events are lost to it.
    Missed(u64),
}

impl Events {
    pub(super) fn new(
        receiver: broadcast::Receiver<Arc<LockEvent>>,
        closing: CancellationToken,
        place: StreamPlace,
    ) -> Self {
        Self {
            receiver,
            closing,
            _place: place,
        }
    }

    /// What happens next; nothing once this replica is on its way down. Dropping the future loses no
    /// event.
    pub async fn next(&mut self) -> Option<Happened> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => None,
            event = self.receiver.recv() => match event {
                Ok(event) => Some(Happened::Event(event)),
                Err(RecvError::Lagged(count)) => Some(Happened::Missed(count)),
                Err(RecvError::Closed) => None,
            },
        }
    }
}
