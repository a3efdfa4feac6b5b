//! What happens to locks, as it is told.

use std::{sync::Arc, time::Duration};

use shared_lock_svc::{
    lease::{AcquireRequest, EventKind, LockEvent, Mode},
    store::{ForceRelease, Release},
};
use tokio::{sync::broadcast, time::timeout};

use super::{
    Store, end, gets, holds, key, lives, of, opens, patient, queued, reader, release, request,
    short, takes, within,
};

/// The events of one lock.
struct Feed {
    events: broadcast::Receiver<Arc<LockEvent>>,
    key: &'static str,
    position: u64,
}

impl Feed {
    fn of(store: &Store, key: &'static str) -> Self {
        Self {
            events: store.events(),
            key,
            position: 0,
        }
    }

    /// The next event, which must be of this kind and concern this holder.
    async fn next(&mut self, kind: EventKind, holder: &str) -> Arc<LockEvent> {
        let what = format!("{kind:?} of {} by {holder}", self.key);
        let event = loop {
            let next = timeout(Duration::from_secs(20), self.events.recv()).await;
            let event = next.unwrap_or_else(|_| panic!("never: {what}")).unwrap();
            if event.key.as_str() == self.key {
                break event;
            }
        };
        let seen = event.holder.as_ref().map(|holder| holder.as_str());
        assert_eq!((event.kind, seen), (kind, Some(holder)), "{event:?}");
        assert!(event.position >= self.position, "{event:?}");
        assert!(event.is_ours, "there is one replica: {event:?}");
        self.position = event.position;
        event
    }
}

fn traced(request: AcquireRequest, trace: &str) -> AcquireRequest {
    AcquireRequest {
        trace_id: Some(trace.to_owned()),
        ..request
    }
}

pub(super) async fn every_change_is_told_in_order(store: Store) {
    let mut feed = Feed::of(&store, "told");
    let asked = traced(request("told", "first"), "trace-1");
    let first = takes(&store, asked.clone()).await;
    let event = feed.next(EventKind::Acquired, "first").await;
    assert_eq!(event.fencing_token, Some(first.fencing_token));
    assert_eq!(event.request_id, Some(asked.request_id));
    assert_eq!(event.trace_id.as_deref(), Some("trace-1"));
    assert_eq!(event.mode, Mode::Exclusive);

    let asked = traced(patient(reader("told", "second")), "trace-2");
    let waiter = queued(&store, asked.clone()).await;
    let event = feed.next(EventKind::Queued, "second").await;
    assert_eq!(event.fencing_token, None);
    assert_eq!(event.request_id, Some(asked.request_id));
    assert_eq!(event.trace_id.as_deref(), Some("trace-2"));
    assert_eq!(event.mode, Mode::Shared);

    let queued_at = feed.position;
    let traced_release = Release {
        trace_id: Some("trace-3".to_owned()),
        ..of(&first)
    };
    assert!(store.release(&key("told"), traced_release).await.unwrap());
    let event = feed.next(EventKind::Released, "first").await;
    assert_eq!(event.fencing_token, Some(first.fencing_token));
    assert_eq!(event.trace_id.as_deref(), Some("trace-3"));
    assert!(event.position > queued_at);
    let second = gets(waiter).await;
    let event = feed.next(EventKind::Acquired, "second").await;
    assert_eq!(event.fencing_token, Some(second.fencing_token));
    assert!(release(&store, "told", &second).await);
    feed.next(EventKind::Released, "second").await;
}

pub(super) async fn a_request_that_is_ended_is_released_if_it_held(store: Store) {
    let mut feed = Feed::of(&store, "told-request");
    let asked = request("told-request", "first");
    takes(&store, asked.clone()).await;
    feed.next(EventKind::Acquired, "first").await;
    let waits = patient(request("told-request", "second"));
    let waiter = queued(&store, waits.clone()).await;
    feed.next(EventKind::Queued, "second").await;
    assert!(end(&store, "told-request", &waits.request_id).await);
    waiter.await.unwrap().unwrap();
    assert!(end(&store, "told-request", &asked.request_id).await);
    let event = feed.next(EventKind::Released, "first").await;
    assert_eq!(event.request_id, Some(asked.request_id));
}

pub(super) async fn an_expiry_is_told_as_one(store: Store) {
    let mut feed = Feed::of(&store, "told-expiry");
    let first = takes(&store, short(request("told-expiry", "first"))).await;
    feed.next(EventKind::Acquired, "first").await;
    let waiter = queued(&store, patient(request("told-expiry", "second"))).await;
    feed.next(EventKind::Queued, "second").await;
    let event = feed.next(EventKind::Expired, "first").await;
    assert_eq!(event.fencing_token, Some(first.fencing_token));
    assert_eq!(event.reason, None);
    feed.next(EventKind::Acquired, "second").await;
    gets(waiter).await;
}

pub(super) async fn force_is_told_with_its_reason_for_every_holder(store: Store) {
    let mut feed = Feed::of(&store, "told-force");
    for name in ["a", "b"] {
        takes(&store, reader("told-force", name)).await;
        feed.next(EventKind::Acquired, name).await;
    }
    let order = ForceRelease {
        reason: Some("it hangs".to_owned()),
        trace_id: Some("trace-4".to_owned()),
    };
    store
        .force_release(&key("told-force"), order)
        .await
        .unwrap();
    for name in ["a", "b"] {
        let event = feed.next(EventKind::Lost, name).await;
        assert_eq!(event.reason.as_deref(), Some("it hangs"));
        assert_eq!(event.trace_id.as_deref(), Some("trace-4"));
    }
    holds(&store, "told-force", "next").await;
    feed.next(EventKind::Acquired, "next").await;
}

pub(super) async fn the_end_of_a_session_is_a_release_and_its_lapse_an_expiry(store: Store) {
    let mut ends = Feed::of(&store, "told-ends");
    let mut lapses = Feed::of(&store, "told-lapses");
    let ended = opens(&store, "ended").await;
    let lapsed = lives(&store, "lapsed", Duration::from_secs(2)).await;
    takes(&store, within(&lapsed, request("told-lapses", "lapsed"))).await;
    takes(&store, within(&ended, request("told-ends", "ended"))).await;
    assert!(store.end_session(ended.id).await.unwrap());
    ends.next(EventKind::Acquired, "ended").await;
    ends.next(EventKind::Released, "ended").await;
    lapses.next(EventKind::Acquired, "lapsed").await;
    lapses.next(EventKind::Expired, "lapsed").await;
}
