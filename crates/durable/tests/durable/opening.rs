//! What may be opened, and by whom.

use std::fs;

use durable::{Durable, OpenError, Options};

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
    assert!(matches!(refused, OpenError::Storage { .. }), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), b"something else");
}

#[tokio::test]
async fn what_an_unfinished_first_start_left_is_cleared_away() {
    let dir = TempDir::new();
    fs::write(dir.path().join("table.redb.new"), "half a file").unwrap();
    let table = dir.open();
    put(&table, b"k", b"v").await.unwrap();
    assert!(!dir.path().join("table.redb.new").exists());
}
