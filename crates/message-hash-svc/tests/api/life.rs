//! Starting and ending.

use std::time::Duration;

use testbed::{Launch, Process, Signal, build, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::app::{App, message};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// The shipped binary on the data directory of `app`, with one more setting.
fn launch(app: &App, setting: (&str, &str)) -> Process {
    Launch::new("message-hash-svc", build("message-hash-svc").unwrap())
        .args(["serve"])
        .env("MESSAGE_HASH_LISTEN", "127.0.0.1:0")
        .env("MESSAGE_HASH_DATA_DIR", app.data_dir())
        .env(format!("MESSAGE_HASH_{}", setting.0), setting.1)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused_in_one_line() {
    let app = App::start().await;
    let second = launch(&app, ("LOG_FORMAT", "text"));
    assert_eq!(second.ended().await.unwrap().code(), Some(1));
    let log = second.log().text();
    assert_eq!(log.lines().count(), 1, "{log}");
    let reason = format!(
        "setting data_dir (MESSAGE_HASH_DATA_DIR): data directory {} is in use by another process (pid {})",
        app.data_dir().display(),
        app.service.pid()
    );
    assert!(log.contains(&reason), "{log}");
    app.keep("the first one goes on").await;
}

#[tokio::test]
async fn a_setting_that_cannot_be_used_ends_it_in_one_line() {
    let app = App::start().await;
    for (setting, value, told) in [
        ("MESSAGE_LIMIT", "1 MiB", "`1 MiB`"),
        ("MESSAGE_LIMIT", "TRUE", "`TRUE`"),
        ("ADMIN_KEY", "guess me", "at least 16 letters"),
    ] {
        let refused = launch(&app, (setting, value));
        assert_eq!(refused.ended().await.unwrap().code(), Some(2));
        let log = refused.log().text();
        assert_eq!(log.lines().count(), 1, "{log}");
        let name = format!("MESSAGE_HASH_{setting}");
        assert!(log.contains(&name) && log.contains(told), "{log}");
        assert!(!log.contains("guess me"), "{log}");
    }
}

#[tokio::test]
async fn sigterm_lets_an_open_post_finish_and_ends_with_success() {
    an_open_post_is_answered_after(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_lets_an_open_post_finish_and_ends_with_success() {
    an_open_post_is_answered_after(Signal::INT).await;
}

async fn an_open_post_is_answered_after(signal: Signal) {
    let app = App::start().await;
    let body = r#"{"message":"on the way down"}"#;
    let (first, rest) = body.split_at(12);
    let mut post = TcpStream::connect(app.address()).await.unwrap();
    let head = format!(
        "POST /messages HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
        content-length: {}\r\n\r\n{first}",
        body.len()
    );
    post.write_all(head.as_bytes()).await.unwrap();
    soon("the post to be open", async || {
        let name = "http_server_active_requests{http_request_method=\"POST\",url_scheme=\"http\"}";
        (app.metric(name).await == 1.0)
            .then_some(())
            .ok_or("not yet")
    })
    .await;

    let process = app.service.process();
    process.signal(signal).unwrap();
    let ended = tokio::spawn(async move { timeout(LONG, process.ended()).await });
    soon("new connections to be refused", async || {
        TcpStream::connect(app.address())
            .await
            .err()
            .ok_or("accepted")
    })
    .await;
    post.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    post.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let ended = ended.await.unwrap().expect("it ends");
    assert!(ended.unwrap().success());

    app.service.restart().await.unwrap();
    let digest = message_hash_svc::digest::Digest::of(b"on the way down");
    let found = app.get(&format!("/messages/{digest}")).await;
    assert_eq!(found, message("on the way down"));
}

#[tokio::test]
async fn messages_outlive_the_process() {
    let app = App::start().await;
    let digest = app.keep("foo").await;
    assert!(app.service.terminate().await.unwrap().success());
    app.service.restart().await.unwrap();
    assert_eq!(
        app.get(&format!("/messages/{digest}")).await,
        message("foo")
    );
}

async fn soon<T>(what: &str, check: impl AsyncFnMut() -> Result<T, &'static str>) {
    eventually(what, LONG, check).await.unwrap();
}
