//! A disk that is full, and one whose syncs fail.

use std::time::Duration;

use message_hash_svc::digest::Digest;
use testbed::{Launch, Process, Scratch, build, eventually, free_port};

use crate::app::{App, Caller, message, noise};

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

async fn ready(service: &Process, caller: &Caller) {
    let asked = async || {
        let answer = caller.get("/readyz").await?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    };
    service.ready(Duration::from_secs(60), asked).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_clearly_and_loses_nothing() {
    let data = Scratch::new("full-disk").unwrap();
    let port = free_port().unwrap();
    let service = start(&data, port);
    let caller = Caller::of(&format!("http://127.0.0.1:{port}"));
    ready(&service, &caller).await;

    let mut kept = Vec::new();
    let refused = loop {
        let text = noise(kept.len(), 500_000);
        let body = serde_json::json!({ "message": text }).to_string();
        let answer = caller.post("application/json", body).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        kept.push((Digest::of(text.as_bytes()), text));
        assert!(kept.len() < 100, "the disk is not full");
    };
    assert!(!kept.is_empty());
    assert_eq!(
        (refused.status, refused.retry_after.as_deref()),
        (503, Some("1"))
    );
    assert_eq!(refused.body, r#"{"err_msg": "the store is not available"}"#);

    eventually("the process to end", Duration::from_secs(60), async || {
        let log = service.log().text();
        log.contains("ended with 1").then_some(()).ok_or(log)
    })
    .await
    .unwrap();
    ready(&service, &caller).await;
    for (digest, text) in &kept {
        assert!(
            caller.look_up(digest).await.unwrap() == message(text),
            "{digest}"
        );
    }
    caller.keep("and it goes on").await.unwrap();
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
