//! Reading and writing rows, within a job and outside.

use durable::{Keys, WriteError};

use crate::dir::{TempDir, put};

#[tokio::test]
async fn rows_outlive_the_table_that_wrote_them() {
    let dir = TempDir::new();
    let table = dir.open();
    put(&table, b"k", b"v").await.unwrap();
    put(&table, b"", b"the empty key").await.unwrap();
    put(&table, b"empty", b"").await.unwrap();
    table.close().await;

    let table = dir.open();
    assert_eq!(table.get("rows", b"k").unwrap(), Some(b"v".to_vec()));
    assert_eq!(
        table.get("rows", b"").unwrap(),
        Some(b"the empty key".to_vec())
    );
    assert_eq!(table.get("rows", b"empty").unwrap(), Some(Vec::new()));
    assert_eq!(table.get("rows", b"absent").unwrap(), None);
    assert_eq!(table.get("never-written", b"k").unwrap(), None);
}

#[tokio::test]
async fn a_job_sees_the_jobs_before_it_and_its_own_writes() {
    let dir = TempDir::new();
    let table = dir.open();
    for key in [b"a", b"c", b"e"] {
        put(&table, key, b"old").await.unwrap();
    }
    let seen = table
        .transact(|tx| {
            tx.put("rows", b"b", b"new");
            tx.put("rows", b"c", b"new");
            tx.delete("rows", b"e");
            tx.put("rows", b"f", b"new");
            assert_eq!(tx.get("rows", b"c")?, Some(b"new".to_vec()));
            assert_eq!(tx.get("rows", b"e")?, None);
            tx.scan("rows", &Keys::all(), 10)
        })
        .await
        .unwrap();
    let expected = [("a", "old"), ("b", "new"), ("c", "new"), ("f", "new")];
    assert_eq!(
        seen,
        expected.map(|(key, value)| (key.into(), value.into()))
    );
    assert_eq!(table.scan("rows", &Keys::all(), 10).unwrap(), seen);
}

#[tokio::test]
async fn a_scan_merges_written_and_committed_rows_up_to_its_limit() {
    let dir = TempDir::new();
    let table = dir.open();
    for key in ["b", "d", "f"] {
        put(&table, key.as_bytes(), b"").await.unwrap();
    }
    for limit in 0..8 {
        let keys = table
            .transact(move |tx| {
                for key in ["a", "c", "e", "g"] {
                    tx.put("rows", key.as_bytes(), b"");
                }
                tx.delete("rows", b"d");
                let rows = tx.scan("rows", &Keys::all(), limit)?;
                Err::<(), _>(Undone(rows.into_iter().map(|(key, _)| key).collect()))
            })
            .await
            .unwrap_err();
        let expected: Vec<Vec<u8>> = ["a", "b", "c", "e", "f", "g"]
            .into_iter()
            .take(limit)
            .map(Into::into)
            .collect();
        assert_eq!(keys.0, expected, "limit {limit}");
    }
}

#[tokio::test]
async fn a_listing_is_paged_by_prefix_and_last_key() {
    let dir = TempDir::new();
    let table = dir.open();
    for key in ["a/1", "b/1", "b/2", "b/3", "c/1"] {
        put(&table, key.as_bytes(), b"").await.unwrap();
    }
    let keys_of = |keys: &Keys| -> Vec<String> {
        let rows = table.scan("rows", keys, 2).unwrap();
        rows.into_iter()
            .map(|(key, _)| String::from_utf8(key).unwrap())
            .collect()
    };
    assert_eq!(keys_of(&Keys::prefix(b"b/")), ["b/1", "b/2"]);
    assert_eq!(keys_of(&Keys::prefix(b"b/").after(b"b/2")), ["b/3"]);
    assert_eq!(keys_of(&Keys::prefix(b"b/").after(b"b/3")), [""; 0]);
    assert_eq!(keys_of(&Keys::prefix(b"b/").after(b"z")), [""; 0]);
}

/// What a job saw before it took back what it wrote.
#[derive(Debug)]
struct Undone(Vec<Vec<u8>>);

impl From<WriteError> for Undone {
    fn from(failed: WriteError) -> Self {
        panic!("{failed}")
    }
}
