//! SIGKILL under load, again and again, on one table.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use durable::Keys;

use crate::dir::TempDir;

#[tokio::test]
async fn every_acknowledged_row_is_there_after_each_kill() {
    let dir = TempDir::new();
    let mut acknowledged = Vec::new();
    for round in 0..12 {
        let (mut writer, mut lines) = start_writer(&dir);
        acknowledged.extend(lines.by_ref().take(40 + round * 37));
        writer.kill().unwrap();
        // What it had said before it died was said after the sync.
        acknowledged.extend(lines);
        writer.wait().unwrap();
        check(&dir, &acknowledged).await;
    }
    assert!(
        acknowledged.len() > 1000,
        "only {} writes",
        acknowledged.len()
    );
}

#[test]
fn a_second_process_is_refused_while_the_first_lives() {
    let dir = TempDir::new();
    let (mut first, _lines) = start_writer(&dir);
    let second = writer(&dir).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(second.stderr).unwrap(),
        format!(
            "data directory {} is in use by another process (pid {})\n",
            dir.path().display(),
            first.id()
        )
    );
    first.kill().unwrap();
    first.wait().unwrap();
    let (mut third, _lines) = start_writer(&dir);
    third.kill().unwrap();
    third.wait().unwrap();
}

/// Counter and rows must agree, and no acknowledged row may be missing or another's.
async fn check(dir: &TempDir, acknowledged: &[(u64, String)]) {
    let table = dir.open();
    let last = table.get("counter", b"last").unwrap().unwrap();
    let last = u64::from_be_bytes(last.try_into().unwrap());
    let rows = table.scan("rows", &Keys::all(), usize::MAX).unwrap();
    assert_eq!(rows.len() as u64, last, "a job was kept in part");
    for ((key, _), number) in rows.iter().zip(1u64..) {
        assert_eq!(key.as_slice(), number.to_be_bytes());
    }
    for (number, writer) in acknowledged {
        let row = table.get("rows", &number.to_be_bytes()).unwrap();
        assert_eq!(row.as_deref(), Some(writer.as_bytes()), "row {number}");
    }
    table.close().await;
}

fn writer(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_durable-writer"));
    command
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts the writer and reads on until the table is open.
fn start_writer(dir: &TempDir) -> (Child, impl Iterator<Item = (u64, String)> + use<>) {
    let mut child = writer(dir).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "open");
    (child, acknowledgements(lines))
}

fn acknowledgements(
    lines: std::io::Lines<BufReader<ChildStdout>>,
) -> impl Iterator<Item = (u64, String)> {
    lines.map(|line| {
        let line = line.unwrap();
        let (number, writer) = line.split_once(' ').unwrap();
        (number.parse().unwrap(), writer.to_owned())
    })
}
