//! Disks that fail: syncs, reads, power.

use std::fs;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durable::faults::Faults;
use durable::{Durable, Keys, ReadError, WriteError};
use futures_util::future::join_all;

use crate::dir::{TempDir, options, put};

fn open_with(dir: &TempDir, faults: &Faults) -> Durable {
    let mut options = options();
    options.faults = Some(faults.clone());
    Durable::open(dir.path(), options).unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it ends")
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_trusted_any_more() {
    let dir = TempDir::new();
    let faults = Faults::default();
    let table = open_with(&dir, &faults);
    put(&table, b"before", b"v").await.unwrap();
    assert!(!table.is_poisoned());

    faults.fail_syncs();
    let poisoned = tokio::spawn({
        let table = table.clone();
        async move { table.poisoned().await }
    });
    let writes: Vec<_> = (0..20u8)
        .map(|number| {
            let table = table.clone();
            tokio::spawn(async move { put(&table, &[number], b"v").await })
        })
        .collect();
    for write in join_all(writes).await {
        assert!(matches!(write.unwrap(), Err(WriteError::Poisoned)));
    }
    soon(poisoned).await.unwrap();
    soon(table.poisoned()).await;
    assert!(table.is_poisoned());
    assert!(matches!(
        put(&table, b"after", b"v").await,
        Err(WriteError::Poisoned)
    ));
    assert!(matches!(
        table.get("rows", b"before"),
        Err(ReadError::Poisoned)
    ));
    assert!(matches!(
        table.scan("rows", &Keys::all(), 1),
        Err(ReadError::Poisoned)
    ));
}

#[tokio::test]
async fn the_next_start_copies_every_row_into_a_new_file() {
    let dir = TempDir::new();
    let faults = Faults::default();
    let table = open_with(&dir, &faults);
    let large = vec![7; 3 * 1024 * 1024];
    for number in 0..8u8 {
        put(&table, &[number], &large).await.unwrap();
    }
    table
        .transact(|tx| {
            tx.put("other", b"k", b"v");
            Ok::<_, WriteError>(())
        })
        .await
        .unwrap();
    faults.fail_syncs();
    put(&table, b"never acknowledged", b"v").await.unwrap_err();
    table.close().await;

    let file = dir.path().join("table.redb");
    let mark = dir.path().join("commit-failed");
    let old_file = fs::metadata(&file).unwrap().ino();
    assert!(mark.exists());

    let table = dir.open();
    assert_ne!(
        fs::metadata(&file).unwrap().ino(),
        old_file,
        "the old file was kept"
    );
    assert!(!mark.exists());
    for number in 0..8u8 {
        assert!(
            table.get("rows", &[number]).unwrap().as_ref() == Some(&large),
            "row {number}"
        );
    }
    assert_eq!(table.get("other", b"k").unwrap(), Some(b"v".to_vec()));
    put(&table, b"again", b"v").await.unwrap();
    table.close().await;

    let new_file = fs::metadata(&file).unwrap().ino();
    dir.open();
    assert_eq!(
        fs::metadata(&file).unwrap().ino(),
        new_file,
        "copied without a reason"
    );
}

#[tokio::test]
async fn a_copy_that_was_cut_short_begins_again() {
    let dir = TempDir::new();
    let faults = Faults::default();
    let table = open_with(&dir, &faults);
    put(&table, b"k", b"v").await.unwrap();
    faults.fail_syncs();
    put(&table, b"lost", b"v").await.unwrap_err();
    table.close().await;

    fs::write(dir.path().join("table.redb.new"), "as far as it got").unwrap();
    let table = dir.open();
    assert_eq!(table.get("rows", b"k").unwrap(), Some(b"v".to_vec()));
    assert!(!dir.path().join("commit-failed").exists());
    assert!(!dir.path().join("table.redb.new").exists());
}

#[tokio::test]
async fn a_job_that_swallows_a_failed_read_is_undone() {
    let dir = TempDir::new();
    let table = dir.open();
    put(&table, b"k", &vec![1; 100_000]).await.unwrap();
    table.close().await;

    let faults = Faults::default();
    let mut options = options();
    options.cache_bytes = 0;
    options.faults = Some(faults.clone());
    let table = Durable::open(dir.path(), options).unwrap();
    let outcome = table
        .transact(move |tx| {
            faults.fail_reads();
            let is_new = tx.get("rows", b"k").unwrap_or(None).is_none();
            tx.put("rows", b"k", b"written over");
            Ok::<_, WriteError>(is_new)
        })
        .await;
    assert!(matches!(outcome, Err(WriteError::Read(_))), "{outcome:?}");
    assert!(matches!(
        table.get("rows", b"k"),
        Err(ReadError::Storage(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_takes_no_acknowledged_row() {
    let dir = TempDir::new();
    let mut acknowledged = 0u32;
    for seed in 0..20 {
        let faults = Faults::default();
        let table = open_with(&dir, &faults);
        for number in 0..acknowledged {
            let row = table.get("rows", &number.to_be_bytes()).unwrap();
            assert_eq!(row, Some(b"v".to_vec()), "row {number} before cut {seed}");
        }
        let from = acknowledged;
        let writer = tokio::spawn({
            let table = table.clone();
            async move {
                let mut next = from;
                while put(&table, &next.to_be_bytes(), b"v").await.is_ok() {
                    next += 1;
                }
                next
            }
        });
        soon(async {
            while table
                .get("rows", &(from + 3 + (seed % 4) as u32).to_be_bytes())
                .unwrap()
                .is_none()
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
        faults.cut_power(seed).unwrap();
        acknowledged = soon(writer).await.unwrap();
        assert!(acknowledged > from);
        table.close().await;
        // A power cut takes the mark of the failed commit too: the page cache is gone with its lies.
        let _ = fs::remove_file(dir.path().join("commit-failed"));
    }
}

#[tokio::test]
async fn a_small_file_needs_no_repair_after_a_kill() {
    for (quick_repair_below, needs_repair) in [(u64::MAX, false), (0, true)] {
        let dir = TempDir::new();
        let faults = Faults::default();
        let mut options = options();
        options.faults = Some(faults.clone());
        options.quick_repair_below = quick_repair_below;
        let table = Durable::open(dir.path(), options).unwrap();
        put(&table, b"k", b"v").await.unwrap();
        faults.cut_power(0).unwrap();
        table.close().await;

        let repaired = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&repaired);
        let file = redb::Builder::new()
            .set_repair_callback(move |_| seen.store(true, Ordering::SeqCst))
            .open(dir.path().join("table.redb"))
            .unwrap();
        drop(file);
        assert_eq!(repaired.load(Ordering::SeqCst), needs_repair);
        assert_eq!(dir.open().get("rows", b"k").unwrap(), Some(b"v".to_vec()));
    }
}
