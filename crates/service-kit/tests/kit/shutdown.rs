//! Readiness, and the way down.

use std::time::{Duration, Instant};

use reqwest::{Client, Method};

use crate::TestService;

#[tokio::test]
async fn readiness_follows_the_dependencies_and_liveness_does_not() {
    let service = TestService::start().await;
    let verbose = reqwest::get(service.url("/readyz?verbose"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(verbose, "dependency: ok\nready\n");

    service.dependency.send(Err("away".into())).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        let answer = reqwest::get(service.url("/readyz")).await.unwrap();
        if answer.status() == 503 {
            break answer;
        }
        assert!(
            Instant::now() < deadline,
            "still ready without its dependency"
        );
        tokio::task::yield_now().await;
    };
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.unwrap().contains("dependency: away"));
    for path in ["/livez", "/health"] {
        for (method, status) in [(Method::GET, 200), (Method::HEAD, 200), (Method::POST, 405)] {
            let probe = Client::new().request(method, service.url(path));
            assert_eq!(probe.send().await.unwrap().status(), status);
        }
    }
}

#[tokio::test]
async fn an_open_request_is_answered_on_the_way_down() {
    let mut service = TestService::start().await;
    let open = tokio::spawn(reqwest::get(service.url("/slow")));
    service.entered.notified().await;
    service.stop();
    let deadline = Instant::now() + Duration::from_secs(60);
    while reqwest::get(service.url("/livez")).await.is_ok() {
        assert!(Instant::now() < deadline, "still accepting connections");
    }
    service.finish.notify_one();
    assert_eq!(open.await.unwrap().unwrap().text().await.unwrap(), "done");
    service.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_process() {
    let mut service = TestService::start().await;
    let client = reqwest::Client::new();
    client.get(service.url("/livez")).send().await.unwrap();
    let asked = Instant::now();
    service.stop();
    service.running.await.unwrap().unwrap();
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "took {:?}",
        asked.elapsed()
    );
    drop(client);
}
