//! A disk that is full, and one whose syncs fail.

use std::time::Duration;

use testbed::{Launch, Process, Scratch, build, eventually, free_port};

use crate::app::{App, Caller, message};
use crate::small_disk::{fill, goes_on, ready};

/// Runs the shipped binary on a small file system in memory; when it ends it is started again on the
/// same one, which then has room.
const ON_A_SMALL_DISK: &str = r#"
    mount -t tmpfs -o size=8m tmpfs "$1" || exit 3
    "$0" serve
    echo "ended with $?"
    mount -o remount,size=256m "$1" || exit 3
    exec "$0" serve
"#;

fn start(data: &Scratch, port: u16) -> Process {
    let namespaces = [
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
    ];
    Launch::new("message-hash-svc", "unshare")
        .args(namespaces)
        .args(["/bin/sh", "-c", ON_A_SMALL_DISK])
        .args([build("message-hash-svc").unwrap().as_path(), data.path()])
        .env("MESSAGE_HASH_LISTEN", format!("127.0.0.1:{port}"))
        .env("MESSAGE_HASH_DATA_DIR", data.path())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_full_disk_refuses_clearly_and_loses_nothing() {
    let data = Scratch::new("full-disk").unwrap();
    let port = free_port().unwrap();
    let service = start(&data, port);
    let caller = Caller::of(&format!("http://127.0.0.1:{port}"));
    ready(&service, &caller).await;

    let kept = fill(&caller, 500_000).await;

    eventually("the process to end", Duration::from_secs(60), async || {
        let log = service.log().text();
        log.contains("ended with 1").then_some(()).ok_or(log)
    })
    .await
    .unwrap();
    ready(&service, &caller).await;
    goes_on(&caller, &kept).await;
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_is_acknowledged_and_everything_kept_is_there() {
    let app = App::start().await;
    let mut kept = Vec::new();
    for number in 0..20 {
        kept.push(app.keep(&format!("before {number}")).await);
    }
    let process = app.service.process();
    let strace = Launch::new("strace", "strace")
        .args([
            "-f",
            "-e",
            "inject=fdatasync,fsync:error=EIO",
            "-e",
            "trace=fdatasync,fsync",
        ])
        .args(["-p", &process.pid().to_string()])
        .spawn()
        .unwrap();
    let attached = async || {
        let log = strace.log().text();
        anyhow::ensure!(log.contains("attached"), "{log}");
        Ok(())
    };
    strace
        .ready(Duration::from_secs(20), attached)
        .await
        .unwrap();

    let body = r#"{"message":"never on disk"}"#;
    let refused = app.post("application/json", body).await;
    assert_eq!(
        (refused.status, refused.retry_after.as_deref()),
        (503, Some("1"))
    );
    let ended = tokio::time::timeout(Duration::from_secs(60), process.ended()).await;
    assert_eq!(ended.expect("to end").unwrap().code(), Some(1));
    assert!(app.data_dir().join("commit-failed").exists());

    app.service.restart().await.unwrap();
    assert!(!app.data_dir().join("commit-failed").exists());
    for (number, digest) in kept.iter().enumerate() {
        let found = app.get(&format!("/messages/{digest}")).await;
        assert_eq!(found, message(&format!("before {number}")));
    }
    app.keep("and it goes on").await;
}
