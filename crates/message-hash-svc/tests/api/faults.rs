//! A disk that takes no more.

use std::time::Duration;

use message_hash_svc::digest::Digest;
use testbed::{Launch, Process, Scratch, build, free_port};

use crate::app::{Caller, message, noise};

/// Starts the shipped binary where files may not grow beyond `kibibytes`, as on a full disk; told
/// by an error and not by the signal that would end it.
fn start_on_a_small_disk(data: &Scratch, port: u16, kibibytes: &str) -> Process {
    let limited = format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$0\" serve");
    Launch::new("message-hash-svc", "/bin/bash")
        .args([
            "-c".into(),
            limited.into(),
            build("message-hash-svc").unwrap(),
        ])
        .env("MESSAGE_HASH_LISTEN", format!("127.0.0.1:{port}"))
        .env("MESSAGE_HASH_DATA_DIR", data.path())
        .spawn()
        .unwrap()
}

async fn ready(service: &Process, caller: &Caller) {
    service
        .ready(Duration::from_secs(30), async || {
            let answer = caller.get("/readyz").await?;
            anyhow::ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_store_that_failed_refuses_ends_the_process_and_is_copied_at_the_next_start() {
    let data = Scratch::new("small-disk").unwrap();
    let port = free_port().unwrap();
    let service = start_on_a_small_disk(&data, port, "8192");
    let caller = Caller::of(&format!("http://127.0.0.1:{port}"));
    ready(&service, &caller).await;

    let mut kept = Vec::new();
    let refused = loop {
        let text = noise(kept.len(), 1_000_000);
        let body = serde_json::json!({ "message": text }).to_string();
        let answer = caller.post("application/json", body).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        kept.push((Digest::of(text.as_bytes()), text));
        assert!(kept.len() < 60, "the disk is not small");
    };
    assert!(!kept.is_empty());
    assert_eq!(
        (refused.status, refused.retry_after.as_deref()),
        (503, Some("1"))
    );
    assert_eq!(refused.content_type, "application/json");
    assert_eq!(refused.body, r#"{"err_msg": "the store is not available"}"#);

    let ended = tokio::time::timeout(Duration::from_secs(60), service.ended()).await;
    assert_eq!(
        ended.expect("to end").unwrap().code(),
        Some(1),
        "{}",
        service.log().text()
    );

    let service = start_on_a_small_disk(&data, port, "unlimited");
    ready(&service, &caller).await;
    assert!(service.log().contains("copying every row into a new file"));
    for (digest, text) in &kept {
        assert!(
            caller.look_up(digest).await.unwrap() == message(text),
            "{digest}"
        );
    }
    caller.keep("and it goes on").await.unwrap();
}
