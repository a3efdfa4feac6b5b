//! A data directory that is not as it was written: each of our services tells so in one line.

use std::{fs, path::Path};

use reqwest::Client;
use serde_json::{Value, json};
use testbed::{RunningService, Scratch, Service};

const DAMAGED: &str = "table.redb is damaged: restore it from a backup";

#[tokio::test]
async fn shared_lock_svc_tells_that_its_file_is_damaged() {
    let data = Scratch::new("damage").unwrap();
    let service = || service("shared-lock-svc", "SHARED_LOCK", "STORAGE_TYPE", &data);
    let first = service().start().await.unwrap();
    for number in 0..20 {
        let holder = json!({ "holder": "me", "ttl_ms": 60_000 });
        post(&first, &format!("/v1/locks/{number}/acquire"), &holder).await;
    }
    assert!(first.terminate().await.unwrap().success());
    each_damage_is_told(&data, service).await;
}

#[tokio::test]
async fn hostname_svc_tells_that_its_file_is_damaged() {
    let locks = Service::new("shared-lock-svc").env("SHARED_LOCK_STORAGE_TYPE", "memory");
    let locks = locks.start().await.unwrap();
    let data = Scratch::new("damage").unwrap();
    let service = || {
        service("hostname-svc", "HOSTNAME_SVC", "STORE", &data)
            .env("HOSTNAME_SVC_LOCK_URL", locks.url())
    };
    let first = service().start().await.unwrap();
    let hostname = json!({ "application": "splunk", "role": "web", "environment": "dev" });
    for _ in 0..20 {
        post(&first, "/v1/hostnames", &hostname).await;
    }
    assert!(first.terminate().await.unwrap().success());
    each_damage_is_told(&data, service).await;
}

#[tokio::test]
async fn message_hash_svc_tells_that_its_file_is_damaged() {
    let data = Scratch::new("damage").unwrap();
    let service = || service("message-hash-svc", "MESSAGE_HASH", "STORE", &data);
    let first = service().start().await.unwrap();
    for number in 0..20 {
        let message = json!({ "message": number.to_string() });
        post(&first, "/messages", &message).await;
    }
    assert!(first.terminate().await.unwrap().success());
    each_damage_is_told(&data, service).await;
}

fn service(name: &str, prefix: &str, store: &str, data: &Scratch) -> Service {
    Service::new(name)
        .env(&format!("{prefix}_{store}"), "embedded")
        .env(
            &format!("{prefix}_DATA_DIR"),
            data.path().display().to_string(),
        )
}

async fn post(service: &RunningService, path: &str, body: &Value) {
    let url = format!("{}{path}", service.url());
    let answer = Client::new().post(url).json(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

/// Changes the file in many ways. What changes no row, or one that is checked by itself, keeps no
/// service from its start.
async fn each_damage_is_told(data: &Scratch, service: impl Fn() -> Service) {
    let file = data.path().join("table.redb");
    let written = fs::read(&file).unwrap();
    let mut told = 0;
    for (how, bytes) in damages(&written) {
        fs::write(&file, bytes).unwrap();
        let Err(refused) = service().start_listening().await else {
            continue;
        };
        let refused = refused.to_string();
        assert!(refused.contains("exit status: 1"), "{how}: {refused}");
        assert!(refused.contains(DAMAGED), "{how}: {refused}");
        assert_eq!(refused.matches("\"level\"").count(), 1, "{how}: {refused}");
        assert!(!refused.contains("panicked"), "{how}: {refused}");
        told += 1;
    }
    assert!(told >= 10, "only {told} were noticed");
    is_told_of_what_is_no_file(&file, service).await;
}

fn damages(written: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("another file".to_owned(), b"something else".to_vec()),
        ("nothing in it".to_owned(), Vec::new()),
        (
            "cut in half".to_owned(),
            written[..written.len() / 2].to_vec(),
        ),
        (
            "a byte less".to_owned(),
            written[..written.len() - 1].to_vec(),
        ),
    ];
    // Each page that holds something begins with a byte that says what it is.
    let pages = (0..written.len()).step_by(4096);
    for at in pages.filter(|at| written[*at] != 0) {
        let mut changed = written.to_vec();
        changed[at] ^= 0xff;
        all.push((format!("byte {at} changed"), changed));
        let mut changed = written.to_vec();
        changed[at + 4..at + 12].fill(0xff);
        all.push((format!("bytes from {at} changed"), changed));
    }
    all
}

async fn is_told_of_what_is_no_file(file: &Path, service: impl Fn() -> Service) {
    fs::remove_file(file).unwrap();
    fs::create_dir(file).unwrap();
    let refused = service().start().await.err().unwrap().to_string();
    let told = format!("cannot open {}", file.display());
    assert!(refused.contains(&told), "{refused}");
    assert!(refused.contains("exit status: 1"), "{refused}");
}
