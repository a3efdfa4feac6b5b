//! The way up and the way down.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use testbed::{Etcd, Scratch, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::app::TestApp;

#[tokio::test]
async fn on_sigterm_waiters_are_sent_elsewhere_and_the_process_ends_well() {
    let etcd = Etcd::start().await.unwrap();
    for store in ["memory", "embedded", "etcd"] {
        let settings = [("STORAGE_TYPE", store), ("ETCD_ADDR_LIST", etcd.endpoint())];
        let app = Arc::new(TestApp::with(&settings).await);
        app.holds("jobs", "first").await;
        let waiting = Arc::clone(&app);
        let waiter = tokio::spawn(async move {
            let wish = json!({ "holder": "second", "ttl_ms": 1000, "wait_ms": 60_000 });
            waiting.acquire("jobs", wish).await
        });
        app.queue_is("jobs", 1, Duration::from_secs(5)).await;
        let asked = Instant::now();
        let status = app.service.terminate().await.unwrap();
        assert!(status.success(), "{store}: {status:?}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{store}");
        let answer = waiter.await.unwrap();
        assert_eq!(answer.status, 503, "{store}: {answer:?}");
        assert_eq!(answer.body["code"], "shutting-down");
        assert_eq!(answer.body["retryable"], true);
        assert_eq!(answer.header("retry-after"), Some("1"));
        let log = app.service.logs();
        assert!(log.contains("another one answers"), "{store}: it is told");
        assert!(!log.contains("\"ERROR\""), "{store}: {}", log.text());
    }
}

#[tokio::test]
async fn an_embedded_store_goes_on_where_it_stopped() {
    let app = TestApp::with(&[("STORAGE_TYPE", "embedded")]).await;
    let tenure = app.holds("jobs", "me").await;
    let status = app.service.terminate().await.unwrap();
    assert!(status.success(), "{status:?}");
    app.service.restart().await.unwrap();
    let view = app.inspect("jobs").await;
    assert_eq!(view["holders"][0]["fencing_token"], tenure["fencing_token"]);
    assert_eq!(view["holders"][0]["token_epoch"], tenure["token_epoch"]);
    app.gives_back("jobs", &tenure).await;
    let next = app.holds("jobs", "you").await;
    let token = |body: &serde_json::Value| {
        body["fencing_token"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(token(&next) > token(&tenure));
}

#[tokio::test]
async fn one_process_at_a_time_has_a_data_directory() {
    let dir = Scratch::new("locks").unwrap();
    let dir = dir.path().display().to_string();
    let settings = [("STORAGE_TYPE", "embedded"), ("DATA_DIR", &*dir)];
    let _first = TestApp::with(&settings).await;
    let second = TestApp::service(&settings).start().await;
    let told = format!("{:#}", second.err().unwrap());
    assert!(told.contains("in use"), "{told}");
}

#[tokio::test]
async fn connections_that_stop_within_a_further_request_do_not_use_up_the_open_files() {
    let app = TestApp::with(&[("SERVER_IDLE_TIMEOUT", "1s"), ("SERVER_READ_TIMEOUT", "1s")]).await;
    let files = || {
        let listed = std::fs::read_dir(format!("/proc/{}/fd", app.service.pid()));
        listed.unwrap().count()
    };
    let before = files();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut connection = app.connect().await;
        let ping = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\nG";
        connection.write_all(ping).await.unwrap();
        connection.read_exact(&mut [0; 12]).await.unwrap();
        held.push(connection);
    }
    eventually(
        "their files are closed",
        Duration::from_secs(10),
        async || match files() {
            open if open <= before + 4 => Ok(()),
            open => Err(format!("{open} are open, {before} before")),
        },
    )
    .await
    .unwrap();
}
