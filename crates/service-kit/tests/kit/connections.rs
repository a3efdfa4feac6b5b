//! What becomes of a connection whose client does not behave.

use std::time::{Duration, Instant};

use testbed::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::TestService;

const PING: &[u8] = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

/// A connection is given up after two seconds.
async fn impatient() -> TestService {
    TestService::with(|settings| {
        settings.idle_timeout.0 = SECOND;
        settings.read_timeout.0 = SECOND;
    })
    .await
}

/// A connection on which one request was answered.
async fn used(service: &TestService) -> TcpStream {
    let mut connection = TcpStream::connect(service.address).await.unwrap();
    connection.write_all(PING).await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    connection
}

/// Whatever end it is: orderly, or by a reset.
async fn is_closed(mut connection: TcpStream, within: Duration) -> bool {
    let mut rest = Vec::new();
    timeout(within, connection.read_to_end(&mut rest))
        .await
        .is_ok()
}

#[tokio::test]
async fn a_second_request_that_does_not_go_on_is_not_waited_for() {
    let service = impatient().await;
    let mut connection = used(&service).await;
    connection.write_all(b"G").await.unwrap();
    assert!(is_closed(connection, Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_second_request_that_comes_by_drops_is_not_waited_for() {
    let service = impatient().await;
    let (mut answers, mut requests) = used(&service).await.into_split();
    let drops = tokio::spawn(async move {
        requests.write_all(b"GET /livez HTTP/1.1\r\nx: ").await?;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            requests.write_all(b"y").await?;
        }
        #[expect(unreachable_code, reason = "it names the kind of error")]
        Ok::<_, std::io::Error>(())
    });
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(10), answers.read_to_end(&mut rest)).await;
    drops.abort();
    assert!(ended.is_ok(), "still open");
}

#[tokio::test]
async fn a_connection_in_use_stays_however_long_its_request_takes() {
    let service = impatient().await;
    let mut connection = used(&service).await;
    let slow = b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n";
    connection.write_all(slow).await.unwrap();
    service.entered.notified().await;
    tokio::time::sleep(5 * SECOND).await;
    service.finish.notify_one();
    let mut answer = Vec::new();
    let told = timeout(5 * SECOND, connection.read_to_end(&mut answer)).await;
    assert!(told.is_ok(), "it is closed after that");
    assert!(answer.ends_with(b"done"));
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_given_up() {
    let service = impatient().await;
    let mut connection = TcpStream::connect(service.address).await.unwrap();
    let stream = b"GET /stream HTTP/1.1\r\nhost: test\r\n\r\n";
    connection.write_all(stream).await.unwrap();
    connection.read_exact(&mut [0; 12]).await.unwrap();
    let streaming = &service.streaming;
    assert_eq!(streaming.available_permits(), 0);
    let ended = timeout(10 * SECOND, streaming.acquire()).await;
    assert!(ended.is_ok(), "it is still sent to");
}

/// The handler is dropped, whatever its client sent before it left, and nothing of that is begun.
#[tokio::test]
async fn a_client_that_leaves_ends_its_request_however_much_it_sent_behind_it() {
    for behind in [0, 1_000, 200_000, 5_000_000] {
        let service = TestService::start().await;
        let mut connection = TcpStream::connect(service.address).await.unwrap();
        let slow = b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n";
        connection.write_all(slow).await.unwrap();
        service.entered.notified().await;
        let more = PING.repeat(behind / PING.len());
        // As much as the server takes.
        let _ = timeout(Duration::from_millis(500), connection.write_all(&more)).await;
        drop(connection);
        let left = Instant::now();
        let metric =
            "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"} 1";
        eventually("only who asks is answered", 5 * SECOND, async || {
            let text = reqwest::get(service.url("/metrics")).await?.text().await?;
            anyhow::ensure!(text.contains(metric), "{text}");
            anyhow::Ok(())
        })
        .await
        .unwrap();
        assert!(
            left.elapsed() < 4 * SECOND,
            "{behind}: {:?}",
            left.elapsed()
        );
    }
}
