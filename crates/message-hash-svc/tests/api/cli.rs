//! The command line.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::{fs, thread};

use testbed::{Scratch, build, free_port};

use crate::app::App;

/// Runs the shipped binary to its end.
fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(build("message-hash-svc").unwrap());
    command.args(args);
    for (name, value) in environment {
        command.env(format!("MESSAGE_HASH_{name}"), value);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn healthcheck(address: &str) -> (Option<i32>, String) {
    let output = run(&["healthcheck"], &[("LISTEN", address)]);
    assert!(output.stdout.is_empty());
    (output.status.code(), text(&output.stderr))
}

#[tokio::test]
async fn a_healthcheck_of_a_service_that_is_ready_succeeds_and_says_nothing() {
    let app = App::start().await;
    let address = app.address().to_string();
    assert_eq!(healthcheck(&address), (Some(0), String::new()));
    // As in a container, where it listens on every address.
    let everywhere = format!("0.0.0.0:{}", app.address().port());
    assert_eq!(healthcheck(&everywhere), (Some(0), String::new()));
}

#[test]
fn a_healthcheck_of_a_service_that_is_not_ready_fails_with_its_status() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = thread::spawn(move || {
        let (mut caller, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = caller.read(&mut request).unwrap();
        caller
            .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        text(&request[..length])
    });
    let (status, said) = healthcheck(&address);
    assert_eq!(status, Some(1));
    assert_eq!(
        said,
        format!("message-hash-svc: {address} is not ready: 503\n")
    );
    assert!(service.join().unwrap().starts_with("GET /readyz HTTP/1.1"));
}

#[test]
fn a_healthcheck_of_nobody_fails_in_one_line() {
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let (status, said) = healthcheck(&address);
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = run(&["--version"], &[]);
    assert!(output.status.success());
    let version = format!("message-hash-svc {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&output.stdout), version);
}

#[test]
fn the_bare_command_shows_what_there_is() {
    let output = run(&[], &[]);
    assert!(output.status.success());
    let help = text(&output.stdout);
    for command in ["serve", "config", "healthcheck", "--config", "--version"] {
        assert!(help.contains(command), "{command} is missing:\n{help}");
    }
}

#[test]
fn a_file_of_settings_is_taken_before_the_subcommand_and_behind_it() {
    let dir = Scratch::new("settings").unwrap();
    let file = dir.path().join("settings.toml");
    fs::write(&file, "message_limit = 4711\n").unwrap();
    let file = file.to_str().unwrap();
    for args in [["--config", file, "config"], ["config", "--config", file]] {
        let output = run(&args, &[]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("value:   4711"), "{args:?}");
    }
}

#[test]
fn a_file_of_settings_that_is_not_understood_is_named() {
    let dir = Scratch::new("settings").unwrap();
    let file = dir.path().join("settings.toml");
    fs::write(&file, "[server]\nworker = 2\n").unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["serve", "--config", file], &[]);
    assert_eq!(output.status.code(), Some(2));
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains(file) && line.contains("[server] unknown field `worker`"),
        "{line}"
    );
}
