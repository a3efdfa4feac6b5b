//! Standing in the queue over HTTP.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle};

use crate::app::{Answer, TestApp};

const SOON: Duration = Duration::from_secs(5);

fn wish(holder: &str, request: &str) -> Value {
    json!({ "holder": holder, "ttl_ms": 60_000, "wait_ms": 60_000, "request_id": request })
}

fn start(app: &Arc<TestApp>, key: &'static str, wish: Value) -> JoinHandle<Answer> {
    let app = Arc::clone(app);
    tokio::spawn(async move { app.acquire(key, wish).await })
}

#[tokio::test]
async fn waiters_are_served_in_the_order_of_their_arrival() {
    let app = Arc::new(TestApp::start().await);
    let mut tenure = app.holds("jobs", "first").await;
    let mut waiters = Vec::new();
    for place in 0..4 {
        let holder = format!("waiter {place}");
        waiters.push(start(&app, "jobs", wish(&holder, &format!("q{place}"))));
        app.queue_is("jobs", place + 1, SOON).await;
    }
    let held = app
        .acquire("jobs", json!({ "holder": "x", "ttl_ms": 1000 }))
        .await;
    assert_eq!(held.body["queue_length"], 4);
    for (place, waiter) in waiters.into_iter().enumerate() {
        app.gives_back("jobs", &tenure).await;
        let answer = waiter.await.unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.body["holder"], format!("waiter {place}"));
        tenure = answer.body;
    }
}

#[tokio::test]
async fn a_wait_that_is_over_is_told_who_has_the_lock() {
    let app = TestApp::start().await;
    app.holds("jobs", "first").await;
    let asked = Instant::now();
    let answer = app
        .acquire(
            "jobs",
            json!({ "holder": "second", "ttl_ms": 1000, "wait_ms": 400 }),
        )
        .await;
    assert!(asked.elapsed() >= Duration::from_millis(400));
    assert_eq!(answer.status, 409);
    assert_eq!(answer.body["code"], "lock-held");
    assert_eq!(answer.body["holder"], "first");
    app.queue_is("jobs", 0, SOON).await;
}

/// The caller is a process that dies: its connection closes, and nobody says a word.
#[tokio::test]
async fn a_waiter_whose_connection_closes_leaves_the_queue_within_a_second() {
    let app = Arc::new(TestApp::start().await);
    let tenure = app.holds("jobs", "first").await;
    let connection = leaver(&app, "q1").await;
    let stays = start(&app, "jobs", wish("stays", "q2"));
    app.queue_is("jobs", 2, SOON).await;

    drop(connection);
    app.queue_is("jobs", 1, Duration::from_secs(1)).await;
    app.gives_back("jobs", &tenure).await;
    assert_eq!(stays.await.unwrap().body["holder"], "stays");

    let again = app.acquire("jobs", wish("leaver", "q1")).await;
    assert_eq!(again.body["code"], "request-ended");
}

/// The server reads no further while so much waits, and would not see the connection close.
#[tokio::test]
async fn a_waiter_leaves_the_queue_with_its_client_however_much_that_sent_behind() {
    let app = TestApp::start().await;
    app.holds("jobs", "first").await;
    for (bytes, within) in [(200_000, 1), (4_000_000, 4)] {
        let mut connection = leaver(&app, &format!("q{bytes}")).await;
        let more = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n".repeat(bytes / 35);
        // As much as the server takes.
        let sent = connection.write_all(&more);
        let _ = tokio::time::timeout(Duration::from_millis(500), sent).await;
        drop(connection);
        app.queue_is("jobs", 0, Duration::from_secs(within)).await;
    }
}

/// The connection of a client that waits as the only one.
async fn leaver(app: &TestApp, request: &str) -> TcpStream {
    let body = wish("leaver", request).to_string();
    let mut connection = app.connect().await;
    let request = format!(
        "POST /v1/locks/jobs/acquire HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    app.queue_is("jobs", 1, SOON).await;
    connection
}

#[tokio::test]
async fn a_request_that_a_proxy_repeats_joins_the_first() {
    let app = Arc::new(TestApp::start().await);
    let tenure = app.holds("jobs", "first").await;
    let once = start(&app, "jobs", wish("second", "q"));
    app.queue_is("jobs", 1, SOON).await;
    let twice = start(&app, "jobs", wish("second", "q"));
    let third = start(&app, "jobs", wish("third", "q3"));
    app.queue_is("jobs", 2, SOON).await;
    app.gives_back("jobs", &tenure).await;
    let (once, twice) = (once.await.unwrap(), twice.await.unwrap());
    assert_eq!((once.status.as_u16(), twice.status.as_u16()), (201, 201));
    assert_eq!(once.body["lease_id"], twice.body["lease_id"]);
    assert_eq!(once.body["fencing_token"], twice.body["fencing_token"]);
    app.gives_back("jobs", &once.body).await;
    assert_eq!(third.await.unwrap().status, 201);
}

#[tokio::test]
async fn a_waiting_request_is_ended_by_its_id() {
    let app = Arc::new(TestApp::start().await);
    app.holds("jobs", "first").await;
    let waiter = start(&app, "jobs", wish("second", "q"));
    app.queue_is("jobs", 1, SOON).await;
    let ended = app.release("jobs", json!({ "request_id": "q" })).await;
    assert_eq!(ended.body, json!({ "released": true }));
    let answer = waiter.await.unwrap();
    assert_eq!(answer.status, 410);
    assert_eq!(answer.body["code"], "request-ended");
    app.queue_is("jobs", 0, SOON).await;
}

#[tokio::test]
async fn a_hundred_waiters_are_all_served() {
    let app = Arc::new(TestApp::start().await);
    let mut waiters = tokio::task::JoinSet::new();
    for waiter in 0..100 {
        let app = Arc::clone(&app);
        waiters.spawn(async move {
            let answer = app
                .acquire(
                    "jobs",
                    wish(&format!("waiter {waiter}"), &format!("q{waiter}")),
                )
                .await;
            assert_eq!(answer.status, 201, "{answer:?}");
            app.gives_back("jobs", &answer.body).await;
            let token = answer.body["fencing_token"].as_str().unwrap();
            token.parse::<u64>().unwrap()
        });
    }
    let mut tokens = waiters.join_all().await;
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 100);
}
