use std::{sync::Arc, time::Duration};

use actix_web::web::Data;
use prometheus::Registry;
use tokio::time::Instant;

use super::{EventStream, Wanted};
use crate::{
    lease::{
        AcquireRequest, Acquisition, Anchor, Claim, Holder, LockKey, Metadata, Mode, RequestId,
    },
    locks::{Locks, Rules},
    metrics::LockMetrics,
    store::{Release, memory::MemoryStore},
};

fn locks() -> Data<Locks> {
    let hour = Duration::from_secs(3600);
    let rules = Rules {
        max_ttl: hour,
        max_wait: hour,
        max_waiters: 0,
        max_locks: 0,
        max_streams: 1,
        go_replicas: false,
        token_epoch: Some("one".into()),
    };
    let metrics = LockMetrics::register(&Registry::new()).unwrap();
    Data::new(Locks::start(
        Arc::new(MemoryStore::new()),
        rules,
        metrics,
        None,
    ))
}

fn stream(locks: &Data<Locks>, prefix: &str) -> EventStream {
    EventStream {
        events: locks.events().unwrap(),
        locks: Data::clone(locks),
        wanted: Wanted::Prefix(prefix.to_owned()),
        token_epoch: "one".to_owned(),
        greeting: None,
        quiet_until: Instant::now() + EventStream::HEARTBEAT,
    }
}

/// Takes a lock and gives it back: two events.
async fn use_once(locks: &Locks, key: &str) {
    let key = LockKey::parse(key).unwrap();
    let request = AcquireRequest {
        key: key.clone(),
        holder: Holder::try_from("me".to_owned()).unwrap(),
        anchor: Anchor::Own(Duration::from_secs(600)),
        mode: Mode::Exclusive,
        wait: Duration::ZERO,
        lock_delay: Duration::ZERO,
        request_id: RequestId::random(),
        metadata: Metadata::new(),
        value: String::new(),
        trace_id: None,
    };
    let Acquisition::Acquired(tenure) = locks.acquire(request).await.unwrap().outcome else {
        panic!("{key} is held");
    };
    let release = Release {
        claim: Claim::Tenure {
            lease_id: tenure.lease_id,
            fencing_token: tenure.fencing_token,
        },
        note: None,
        trace_id: None,
    };
    assert!(locks.release(&key, release).await.unwrap());
}

#[tokio::test]
async fn a_slow_listener_is_told_how_many_events_it_missed_and_goes_on() {
    let locks = locks();
    let mut stream = stream(&locks, "jobs");
    for _ in 0..3000 {
        use_once(&locks, "jobs").await;
        // Let the store tell it.
        tokio::task::yield_now().await;
    }
    let first = stream.next().await.unwrap();
    let missed = first
        .strip_prefix("event: missed\ndata: {\"missed\":")
        .unwrap();
    let missed: usize = missed.trim_end().trim_end_matches('}').parse().unwrap();
    let mut left = 0;
    while missed + left < 6000 {
        assert!(stream.next().await.unwrap().contains("\"key\":\"jobs\""));
        left += 1;
    }
    assert!(missed > 0 && left > 0, "{missed} missed, {left} left");
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_to_tell_beats_all_the_same() {
    let locks = locks();
    let mut stream = stream(&locks, "jobs");
    let started = Instant::now();
    for beat in 1..=3 {
        // What happens to other locks is nothing to tell.
        use_once(&locks, "other").await;
        assert_eq!(stream.next().await.unwrap(), ": heartbeat\n\n");
        assert_eq!(started.elapsed().as_secs(), 15 * beat);
    }
    use_once(&locks, "jobs").await;
    assert!(stream.next().await.unwrap().contains("event: acquired"));
    assert!(stream.next().await.unwrap().contains("event: released"));
    locks.close().await;
    assert_eq!(stream.next().await, None);
}
