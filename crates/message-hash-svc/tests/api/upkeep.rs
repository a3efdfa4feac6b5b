//! The subcommands: put and get, backup and restore, verify and scrub.

use std::path::{Path, PathBuf};
use std::process::Output;

use durable::Durable;
use message_hash_svc::digest::Digest;
use message_hash_svc::store::embedded::EmbeddedStore;
use testbed::{Scratch, build};
use tokio::process::Command;

use crate::app::{App, message};

const KEY: &str = "of all the ring bearers";

/// Runs the shipped binary on the data and the address of `app`.
async fn run(app: &App, args: &[&str]) -> Output {
    command(app, app.data_dir(), args).output().await.unwrap()
}

fn command(app: &App, data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(build("message-hash-svc").unwrap());
    command
        .args(args)
        .env("MESSAGE_HASH_LISTEN", app.address().to_string())
        .env("MESSAGE_HASH_DATA_DIR", data)
        .env("MESSAGE_HASH_ADMIN_KEY", KEY);
    command
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

async fn app() -> App {
    App::start_with(&[("ADMIN_KEY", KEY), ("MAX_TTL", "1h")]).await
}

/// Flips a bit of the file where it holds `text`, as a disk may.
fn flip_on_disk(data: &Path, text: &str) {
    let file = data.join("table.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    let places: Vec<usize> = bytes
        .windows(text.len())
        .enumerate()
        .filter(|(_, window)| *window == text.as_bytes())
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty(), "{text} is not in the file");
    for place in places {
        bytes[place] ^= 0x20;
    }
    std::fs::write(&file, bytes).unwrap();
}

#[tokio::test]
async fn what_was_put_from_a_file_is_got_byte_for_byte() {
    let app = app().await;
    let dir = Scratch::new("put").unwrap();
    let file = dir.path().join("message");
    let every: Vec<u8> = (0..=255).collect();
    std::fs::write(&file, &every).unwrap();
    let put = run(&app, &["put", file.to_str().unwrap()]).await;
    let digest = Digest::of(&every).to_string();
    assert_eq!(said(&put), format!("{digest}\n"));
    let url = format!("http://{}/", app.address());
    let got = run(&app, &["get", &digest, "--url", &url]).await;
    assert!(got.status.success(), "{}", said(&got));
    assert_eq!(got.stdout, every);

    let absent = run(&app, &["get", &"a".repeat(64)]).await;
    assert_eq!(absent.status.code(), Some(1));
    assert!(said(&absent).contains("404"), "{}", said(&absent));
    let nonsense = run(&app, &["get", "foo"]).await;
    assert!(
        said(&nonsense).contains("64 lower-case"),
        "{}",
        said(&nonsense)
    );
}

#[tokio::test]
async fn a_backup_of_a_running_service_is_restored_elsewhere() {
    let app = app().await;
    let long = "long ".repeat(2000);
    let mut kept = Vec::new();
    for number in 0..300 {
        let text = format!("{number} {long}");
        kept.push((app.keep(&text).await, text));
    }
    let deleted = app.keep("deleted").await;
    let auth = format!("authorization: Bearer {KEY}");
    let path = format!("/messages/{deleted}?block=true");
    assert_eq!(app.call("DELETE", &path, &[&auth], "").await.status, 204);

    let dir = Scratch::new("backup").unwrap();
    let file = dir.path().join("messages.backup");
    let name = file.to_str().unwrap();
    let backup = run(&app, &["backup", name]).await;
    assert!(
        said(&backup).contains("301 rows, all sound"),
        "{}",
        said(&backup)
    );
    assert!(!PathBuf::from(format!("{name}.partial")).exists());
    // What comes later is not in it; the disk is then lost.
    let late = app.keep("late").await;
    app.service.kill().unwrap();
    std::fs::remove_dir_all(app.data_dir()).unwrap();

    let verified = run(&app, &["verify", name]).await;
    assert!(verified.status.success(), "{}", said(&verified));
    let restored = run(&app, &["restore", name]).await;
    assert!(restored.status.success(), "{}", said(&restored));
    app.service.restart().await.unwrap();
    for (digest, text) in &kept {
        assert!(app.get(&format!("/messages/{digest}")).await == message(text));
    }
    assert_eq!(app.get(&format!("/messages/{late}")).await.status, 404);
    let again = app
        .post("application/json", r#"{"message":"deleted"}"#)
        .await;
    assert_eq!(again.status, 403);

    let over = run(&app, &["restore", name]).await;
    assert_eq!(over.status.code(), Some(1));
    assert!(app.service.terminate().await.unwrap().success());
    let over = run(&app, &["restore", name]).await;
    assert!(
        said(&over).contains("holds a table already"),
        "{}",
        said(&over)
    );
}

#[tokio::test]
async fn a_backup_with_one_flipped_bit_is_refused() {
    let app = app().await;
    app.keep("the message in the backup").await;
    assert!(app.service.terminate().await.unwrap().success());
    let dir = Scratch::new("backup").unwrap();
    let file = dir.path().join("messages.backup");
    let name = file.to_str().unwrap();
    let backup = run(&app, &["backup", name]).await;
    assert!(
        said(&backup).contains("1 rows, all sound"),
        "{}",
        said(&backup)
    );

    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() - 60;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    for args in [["verify", name], ["restore", name]] {
        let refused = command(&app, &elsewhere, &args).output().await.unwrap();
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    }
    assert!(!elsewhere.join("table.redb").exists());
}

#[tokio::test]
async fn a_bit_that_flipped_on_disk_is_found_put_aside_and_never_shown() {
    let app = app().await;
    let digest = app.keep("the message that will be hurt").await;
    let other = app.keep("another message").await;
    assert!(app.service.terminate().await.unwrap().success());
    flip_on_disk(app.data_dir(), "the message that will be hurt");
    app.service.restart().await.unwrap();

    let path = format!("/messages/{digest}");
    for _ in 0..2 {
        let answer = app
            .call("GET", &path, &["accept: application/octet-stream"], "")
            .await;
        assert_eq!(answer.status, 500);
    }
    assert_eq!(app.get(&format!("/messages/{other}")).await.status, 200);
    let scrub = run(&app, &["scrub"]).await;
    assert_eq!(scrub.status.code(), Some(1));
    assert!(
        said(&scrub).contains("1 of 2 messages are damaged"),
        "{}",
        said(&scrub)
    );

    assert!(app.service.terminate().await.unwrap().success());
    let table = Durable::open(app.data_dir(), EmbeddedStore::options()).unwrap();
    let aside = table.get("quarantine", digest.as_bytes()).unwrap().unwrap();
    assert_eq!(&aside[2..], b"The message that will be hurt");
    table.close().await;

    app.service.restart().await.unwrap();
    app.keep("the message that will be hurt").await;
    assert_eq!(app.get(&path).await.status, 200);
    let scrub = run(&app, &["scrub"]).await;
    assert!(
        said(&scrub).contains("2 messages are sound"),
        "{}",
        said(&scrub)
    );
}

#[tokio::test]
async fn a_scrub_finds_damage_before_anybody_asks_for_the_message() {
    let app = App::start_with(&[("SCRUB_EVERY", "100ms")]).await;
    app.keep("the message that will be hurt").await;
    assert!(app.service.terminate().await.unwrap().success());
    flip_on_disk(app.data_dir(), "the message that will be hurt");
    let offline = run(&app, &["scrub"]).await;
    assert!(
        said(&offline).contains("1 of 1 messages are damaged"),
        "{}",
        said(&offline)
    );
    app.service.restart().await.unwrap();
    testbed::eventually("a scrub", std::time::Duration::from_secs(20), async || {
        let count = app.metric("message_hash_scrubbed_messages_total").await;
        (count > 0.0).then_some(()).ok_or(count)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn only_the_administrator_may_back_up_and_scrub() {
    let app = app().await;
    let wrong = "authorization: Bearer x";
    for (method, path) in [("GET", "/admin/backup"), ("POST", "/admin/scrub")] {
        let refused = app.call(method, path, &[wrong], "").await;
        assert_eq!(refused.problem(), (401, "unauthorized".to_owned()));
    }
    let mut without = command(&app, app.data_dir(), &["scrub"]);
    let without = without
        .env_remove("MESSAGE_HASH_ADMIN_KEY")
        .output()
        .await
        .unwrap();
    assert!(
        said(&without).contains("MESSAGE_HASH_ADMIN_KEY"),
        "{}",
        said(&without)
    );
}
