//! Long work on a terminal.

use message_hash_svc::digest::Digest;
use testbed::{Postgres, Scratch, build};
use tokio::process::Command;

use crate::app::App;

const KEY: &str = "of all the ring bearers";

/// What a person at a terminal sees of the shipped binary.
async fn seen(args: &[&str], settings: &[(&str, &str)]) -> String {
    let binary = build("message-hash-svc").unwrap();
    let line = [&[binary.to_str().unwrap()], args].concat().join(" ");
    let mut terminal = Command::new("script");
    terminal
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm");
    for (name, value) in settings {
        terminal.env(format!("MESSAGE_HASH_{name}"), value);
    }
    let output = terminal.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test]
async fn whoever_puts_gets_or_backs_up_at_a_terminal_sees_how_far_it_is() {
    let app = App::start_with(&[("ADMIN_KEY", KEY)]).await;
    let address = app.address().to_string();
    let settings = [
        ("LISTEN", address.as_str()),
        ("ADMIN_KEY", KEY),
        ("DATA_DIR", app.data_dir().to_str().unwrap()),
    ];
    let dir = Scratch::new("bars").unwrap();
    let file = |name| dir.path().join(name).to_str().unwrap().to_owned();
    let message = vec![b'x'; 1_000_000];
    std::fs::write(file("message"), &message).unwrap();
    let digest = Digest::of(&message).to_string();
    for (args, told) in [
        (vec!["put", &file("message")], ["sending ", "976.56 KiB"]),
        (vec!["get", &digest], ["receiving ", "/976.56 KiB"]),
        (vec!["backup", &file("backup")], ["backing up ", " B"]),
        (vec!["verify", &file("backup")], ["verifying ", "/1"]),
        (vec!["scrub"], ["scrubbing ", "/1"]),
    ] {
        let text = seen(&args, &settings).await;
        let text = text.replace('x', "");
        assert!(told.iter().all(|told| text.contains(told)), "{text}");
    }
}

#[tokio::test]
async fn whoever_migrates_at_a_terminal_sees_how_many_steps_there_are() {
    let primary = Postgres::start().await.unwrap();
    let text = seen(&["migrate", "--url", &primary.url()], &[]).await;
    assert!(text.contains("migrating ") && text.contains("/2"), "{text}");
    assert!(text.contains("schema version 2"), "{text}");
}
