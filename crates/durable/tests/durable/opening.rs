//! What may be opened, and by whom.

use std::fs;
use std::path::PathBuf;

use durable::{Durable, Keys, OpenError, Options, Row};

use crate::dir::{TempDir, options, put};

#[tokio::test]
async fn a_missing_directory_is_made() {
    let dir = TempDir::new();
    let below = dir.path().join("not/yet/there");
    let table = Durable::open(&below, options()).unwrap();
    put(&table, b"k", b"v").await.unwrap();
    table.close().await;
    let table = Durable::open(&below, options()).unwrap();
    assert_eq!(table.get("rows", b"k").unwrap(), Some(b"v".to_vec()));
}

#[tokio::test]
async fn a_directory_is_opened_once_at_a_time() {
    let dir = TempDir::new();
    let table = dir.open();
    let refused = Durable::open(dir.path(), options()).err().unwrap();
    assert!(
        matches!(refused, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id())
    );
    table.close().await;
    dir.open();
}

#[tokio::test]
async fn an_unknown_format_and_a_foreign_table_are_refused_and_left_alone() {
    let dir = TempDir::new();
    let newer = Durable::open(dir.path(), Options::new("durable-test", 2)).unwrap();
    put(&newer, b"k", b"v").await.unwrap();
    newer.close().await;

    let refused = Durable::open(dir.path(), options()).err().unwrap();
    assert_eq!(
        refused.to_string(),
        format!(
            "{} holds durable-test format 2, this version knows only 1",
            dir.path().display()
        )
    );
    let refused = Durable::open(dir.path(), Options::new("other", 2))
        .err()
        .unwrap();
    assert!(matches!(refused, OpenError::Foreign { found, .. } if found == "durable-test"));

    let newer = Durable::open(dir.path(), Options::new("durable-test", 2)).unwrap();
    assert_eq!(newer.get("rows", b"k").unwrap(), Some(b"v".to_vec()));
}

#[test]
fn a_file_that_is_no_table_is_refused_and_left_alone() {
    let dir = TempDir::new();
    let file = dir.path().join("table.redb");
    fs::write(&file, "something else").unwrap();
    let refused = Durable::open(dir.path(), options()).err().unwrap();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), b"something else");
}

#[tokio::test]
async fn a_changed_byte_is_told_at_the_start_or_has_changed_nothing() {
    let dir = TempDir::new();
    let (file, written) = filled(&dir).await;
    let mut refused = 0;
    for changed in changes(&written) {
        fs::write(&file, changed).unwrap();
        match Durable::open(dir.path(), options()) {
            Ok(table) => {
                assert_eq!(table.scan("rows", &Keys::all(), 1000).unwrap(), rows());
                table.close().await;
            }
            Err(OpenError::Damaged { path, .. }) => {
                assert_eq!(path, file);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 50, "{refused} of 200 were noticed");
}

#[tokio::test]
async fn where_pages_are_not_checked_damage_is_told_by_whatever_meets_it() {
    let dir = TempDir::new();
    let (file, written) = filled(&dir).await;
    let trusting = Options {
        check_on_open: false,
        ..options()
    };
    let mut met = 0;
    for changed in changes(&written) {
        fs::write(&file, changed).unwrap();
        match Durable::open(dir.path(), trusting.clone()) {
            Ok(table) => {
                met += usize::from(table.scan("rows", &Keys::all(), 1000).is_err());
                table.close().await;
            }
            Err(_) => met += 1,
        }
    }
    assert!(met > 10, "{met} of 200 were noticed");
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_told_as_damaged() {
    let dir = TempDir::new();
    dir.open().close().await;
    let file = dir.path().join("table.redb");
    let written = fs::read(&file).unwrap();
    for length in [0, 1, 100, 4096, written.len() / 2, written.len() - 1] {
        fs::write(&file, &written[..length]).unwrap();
        let refused = Durable::open(dir.path(), options()).err().unwrap();
        assert!(
            matches!(refused, OpenError::Damaged { .. }),
            "{length}: {refused}"
        );
    }
}

/// A table of [`rows`] that was closed: its file, and what is in it.
async fn filled(dir: &TempDir) -> (PathBuf, Vec<u8>) {
    let table = dir.open();
    for (key, value) in rows() {
        put(&table, &key, &value).await.unwrap();
    }
    table.close().await;
    let file = dir.path().join("table.redb");
    let written = fs::read(&file).unwrap();
    (file, written)
}

fn rows() -> Vec<Row> {
    let row = |number: u32| (number.to_be_bytes().to_vec(), vec![number as u8; 100]);
    (0..50).map(row).collect()
}

/// The file with one byte changed, all over it: the first bytes of its header and of its pages,
/// and others.
fn changes(written: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let header = (0..100).map(|it| it * 4);
    let pages = (0..100).map(|it| it * (written.len() / 4096) / 100 * 4096 + it % 8 * 9);
    header.chain(pages).map(|offset| {
        let mut changed = written.to_vec();
        changed[offset] ^= 0xff;
        changed
    })
}

#[tokio::test]
async fn what_an_unfinished_first_start_left_is_cleared_away() {
    let dir = TempDir::new();
    fs::write(dir.path().join("table.redb.new"), "half a file").unwrap();
    let table = dir.open();
    put(&table, b"k", b"v").await.unwrap();
    assert!(!dir.path().join("table.redb.new").exists());
}
