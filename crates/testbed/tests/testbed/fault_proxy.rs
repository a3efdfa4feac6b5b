//! The proxy that fails on command, in front of a server that counts what it was asked.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use testbed::FaultProxy;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Answers each line with the number of lines it has read so far.
async fn counter() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(answer(client, Arc::clone(&counted)));
        }
    });
    (address, count)
}

async fn answer(mut client: TcpStream, count: Arc<AtomicUsize>) {
    let (reader, mut writer) = client.split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        if writer
            .write_all(format!("{number}\n").as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn ask(connection: &mut TcpStream, line: &str) -> std::io::Result<String> {
    connection.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}

async fn connect(proxy: &FaultProxy) -> std::io::Result<TcpStream> {
    TcpStream::connect(proxy.address()).await
}

#[tokio::test]
async fn a_proxy_passes_everything_on_until_it_is_told_otherwise() {
    let (upstream, _) = counter().await;
    let proxy = FaultProxy::start(&upstream).await.unwrap();
    let mut connection = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut connection, "a").await.unwrap(), "1");
    assert_eq!(ask(&mut connection, "b").await.unwrap(), "2");
}

#[tokio::test]
async fn a_refusing_proxy_cuts_open_connections_and_takes_no_new_ones_until_it_passes_again() {
    let (upstream, _) = counter().await;
    let proxy = FaultProxy::start(&upstream).await.unwrap();
    let mut open = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut open, "a").await.unwrap(), "1");
    proxy.refuse().await.unwrap();
    assert!(ask(&mut open, "b").await.is_err());
    assert_eq!(
        connect(&proxy).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    proxy.pass().await.unwrap();
    assert_eq!(
        ask(&mut connect(&proxy).await.unwrap(), "c").await.unwrap(),
        "2"
    );
}

#[tokio::test]
async fn a_silent_proxy_swallows_what_comes_and_never_delivers_it_late() {
    let (upstream, count) = counter().await;
    let proxy = FaultProxy::start(&upstream).await.unwrap();
    let mut open = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut open, "a").await.unwrap(), "1");
    proxy.silent().await.unwrap();
    let mut new = connect(&proxy).await.unwrap();
    for connection in [&mut open, &mut new] {
        assert!(
            timeout(Duration::from_millis(200), ask(connection, "b"))
                .await
                .is_err()
        );
    }
    proxy.pass().await.unwrap();
    for connection in [&mut open, &mut new] {
        assert!(
            ask(connection, "c").await.is_err(),
            "a connection that lost bytes went on"
        );
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_resetting_proxy_takes_connections_and_resets_them() {
    let (upstream, _) = counter().await;
    let proxy = FaultProxy::start(&upstream).await.unwrap();
    proxy.reset().await.unwrap();
    let outcome = async { ask(&mut connect(&proxy).await?, "a").await };
    assert_eq!(
        outcome.await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[tokio::test]
async fn a_dropped_answer_means_that_the_request_was_carried_out() {
    let (upstream, count) = counter().await;
    let proxy = FaultProxy::start(&upstream).await.unwrap();
    let mut connection = connect(&proxy).await.unwrap();
    proxy.drop_answer_to("write");
    assert_eq!(ask(&mut connection, "read").await.unwrap(), "1");
    assert!(ask(&mut connection, "write").await.is_err());
    assert_eq!(
        (count.load(Ordering::SeqCst), proxy.answers_dropped()),
        (2, 1)
    );
    assert_eq!(
        ask(&mut connect(&proxy).await.unwrap(), "write")
            .await
            .unwrap(),
        "3"
    );
}

#[tokio::test]
async fn a_held_answer_means_that_the_request_was_carried_out_and_a_held_request_that_it_was_not() {
    let (upstream, count) = counter().await;
    let proxy = FaultProxy::start(&upstream).await.unwrap();
    for (held, carried_out) in [(1, 1), (2, 1)] {
        let mut connection = connect(&proxy).await.unwrap();
        if held == 1 {
            proxy.hold_answer_to("write");
        } else {
            proxy.hold_request("write");
        }
        tokio::select! {
            answer = ask(&mut connection, "write") => panic!("{answer:?}"),
            () = proxy.held(held) => (),
        }
        assert_eq!(count.load(Ordering::SeqCst), carried_out);
    }
    let mut next = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut next, "write").await.unwrap(), "2");
}
