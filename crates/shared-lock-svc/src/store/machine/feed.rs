//! What happens to the locks, for whoever wants to hear of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use tokio::{
    sync::{broadcast, mpsc},
    task::JoinHandle,
};

use super::{Journal, StoreError};
use crate::{
    lease::{EventKind, LockEvent, LockKey},
    state::{Cause, Event, Grant, Moment, Wish},
};

/// Events that a slow receiver may be behind.
pub(in crate::store) const EVENTS: usize = 4096;

/// The call that brought a step about.
#[derive(Default)]
pub(in crate::store) struct Origin {
    pub(in crate::store) trace_id: Option<String>,
    pub(in crate::store) reason: Option<String>,
}

/// Tells events in the order of the steps, each once it is safe.
pub(super) struct Feed {
    listeners: broadcast::Sender<Arc<LockEvent>>,
    unsettled: mpsc::UnboundedSender<(u64, Vec<LockEvent>)>,
    position: AtomicU64,
}

impl Origin {
    pub(in crate::store) fn call(trace_id: Option<String>) -> Self {
        let reason = None;
        Self { trace_id, reason }
    }
}

impl Feed {
    /// A feed, and the task that waits for the journal. Positions go on from the clock, so that they
    /// grow across restarts as well as the clock does.
    pub(super) fn start(journal: Option<Arc<dyn Journal>>, now: Moment) -> (Self, JoinHandle<()>) {
        let listeners = broadcast::Sender::new(EVENTS);
        let (unsettled, queue) = mpsc::unbounded_channel();
        let telling = tokio::spawn(tell_settled(journal, queue, listeners.clone()));
        let position = u64::try_from(now.0.as_micros()).unwrap_or_default();
        let feed = Self {
            listeners,
            unsettled,
            position: AtomicU64::new(position),
        };
        (feed, telling)
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<LockEvent>> {
        self.listeners.subscribe()
    }

    /// Takes the events of a step, to be told once the journal has settled up to there.
    pub(super) fn tell(&self, events: &[(LockKey, Event)], origin: &Origin, settled: u64) {
        if self.listeners.receiver_count() == 0 || events.is_empty() {
            return;
        }
        let position = self.position.fetch_add(1, Ordering::SeqCst) + 1;
        let told = events.iter();
        let told = told.filter_map(|(key, event)| lock_event(key, event, origin, position));
        let told: Vec<_> = told.collect();
        if !told.is_empty() {
            // The task ends only with the machine, or when the disk has failed.
            let _ = self.unsettled.send((settled, told));
        }
    }
}

async fn tell_settled(
    journal: Option<Arc<dyn Journal>>,
    mut queue: mpsc::UnboundedReceiver<(u64, Vec<LockEvent>)>,
    listeners: broadcast::Sender<Arc<LockEvent>>,
) {
    while let Some((position, events)) = queue.recv().await {
        if let Some(journal) = &journal {
            loop {
                match journal.settled(position).await {
                    Ok(()) => break,
                    Err(StoreError::Timeout) => {}
                    Err(_) => return,
                }
            }
        }
        for event in events {
            // Nobody may be listening any more.
            let _ = listeners.send(Arc::new(event));
        }
    }
}

/// An event as everybody hears of it, if it is one for others.
pub(in crate::store) fn lock_event(
    key: &LockKey,
    event: &Event,
    origin: &Origin,
    position: u64,
) -> Option<LockEvent> {
    let (kind, wish, grant): (_, &Wish, Option<&Grant>) = match event {
        Event::Queued(wish) => (EventKind::Queued, wish, None),
        Event::Granted(grant) => (EventKind::Acquired, &grant.wish, Some(grant)),
        Event::Ended(grant, cause) => (kind_of(*cause), &grant.wish, Some(grant)),
        _ => return None,
    };
    // A grant belongs to the call that asked for it, whoever made room.
    let trace_id = match kind {
        EventKind::Queued | EventKind::Acquired => &wish.trace_id,
        EventKind::Expired => &None,
        EventKind::Released | EventKind::Lost => &origin.trace_id,
    };
    Some(LockEvent {
        key: key.clone(),
        kind,
        position,
        holder: Some(wish.holder.clone()),
        mode: wish.mode,
        fencing_token: grant.map(|grant| grant.token),
        request_id: Some(wish.request_id.clone()),
        trace_id: trace_id.clone(),
        reason: origin.reason.clone().filter(|_| kind == EventKind::Lost),
        at: SystemTime::now(),
        is_ours: true,
    })
}

fn kind_of(cause: Cause) -> EventKind {
    match cause {
        Cause::Released | Cause::SessionEnded => EventKind::Released,
        Cause::Forced => EventKind::Lost,
        Cause::Expired | Cause::WaitOver | Cause::Deadlock => EventKind::Expired,
    }
}
