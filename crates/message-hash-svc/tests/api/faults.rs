//! A disk that takes no more.

use std::time::Duration;

use testbed::{Launch, Process, Scratch, build, free_port};

use crate::app::Caller;
use crate::small_disk::{fill, goes_on, ready};

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

#[tokio::test]
async fn a_store_that_failed_refuses_ends_the_process_and_is_copied_at_the_next_start() {
    let data = Scratch::new("small-disk").unwrap();
    let port = free_port().unwrap();
    let service = start_on_a_small_disk(&data, port, "8192");
    let caller = Caller::of(&format!("http://127.0.0.1:{port}"));
    ready(&service, &caller).await;

    let kept = fill(&caller, 1_000_000).await;

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
    goes_on(&caller, &kept).await;
}
