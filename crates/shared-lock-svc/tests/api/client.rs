//! Our own client and the service, so that the wire between them cannot drift.

use std::time::Duration;

use lock_client::{AcquireOptions, ClientOptions, Error, LockClient};
use tokio::time::timeout;

use crate::app::TestApp;

fn client(app: &TestApp, holder: &str) -> LockClient {
    LockClient::new(ClientOptions::new([app.service.url()], holder)).unwrap()
}

fn options(ttl: Duration, wait: Duration) -> AcquireOptions {
    AcquireOptions {
        ttl,
        wait,
        ..AcquireOptions::default()
    }
}

#[tokio::test]
async fn a_guard_renews_itself_is_waited_for_and_given_back() {
    let app = TestApp::start().await;
    let ttl = Duration::from_secs(2);
    let (first, second) = (client(&app, "first"), client(&app, "second"));
    let held = first
        .acquire("a/b", options(ttl, Duration::ZERO))
        .await
        .unwrap();
    let refused = second.acquire("a/b", options(ttl, Duration::ZERO)).await;
    let Err(Error::Held(refused)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.holder.as_deref(), Some("first"));

    // Longer than its TTL, it is kept; and the one that waits has it as soon as it is given back.
    let waits = second.acquire("a/b", options(ttl, Duration::from_secs(30)));
    let mut waits = std::pin::pin!(waits);
    assert!(timeout(2 * ttl, &mut waits).await.is_err());
    assert!(held.is_valid());
    let token = held.fencing_token();
    held.release().await.unwrap();
    let next = timeout(Duration::from_secs(5), waits)
        .await
        .unwrap()
        .unwrap();
    assert!(next.fencing_token() > token);
    next.release().await.unwrap();
    assert_eq!(app.inspect("a%2Fb").await["holders"], serde_json::json!([]));
}

#[tokio::test]
async fn an_acquire_that_is_dropped_leaves_the_queue() {
    let app = TestApp::start().await;
    app.holds("jobs", "first").await;
    let second = client(&app, "second");
    let minute = Duration::from_secs(60);
    let waits = tokio::spawn(async move { second.acquire("jobs", options(minute, minute)).await });
    app.queue_is("jobs", 1, Duration::from_secs(5)).await;
    waits.abort();
    app.queue_is("jobs", 0, Duration::from_secs(1)).await;
}
