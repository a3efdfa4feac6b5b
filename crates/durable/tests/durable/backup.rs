//! A table in a file, and back.

use std::path::Path;

use durable::{BackupError, Durable, Keys, Options, Pass, Progress, Row};

use crate::dir::{TempDir, options, put};

/// Lets every row pass, and counts.
#[derive(Default)]
struct All {
    rows: u64,
    last: Option<Progress>,
}

impl Pass for All {
    fn row(&mut self, _: &str, row: Row) -> Result<Row, String> {
        self.rows += 1;
        Ok(row)
    }

    fn progress(&mut self, progress: Progress) {
        self.last = Some(progress);
    }
}

fn backup_of(table: &Durable) -> Vec<u8> {
    let mut out = Vec::new();
    table.backup(&mut out, &mut All::default()).unwrap();
    out
}

fn restored(dir: &Path, backup: &[u8]) -> Result<u64, BackupError> {
    durable::restore(dir, &options(), &mut &*backup, &mut All::default())
}

async fn filled(dir: &TempDir) -> Durable {
    let table = dir.open();
    for number in 0..50_u8 {
        put(&table, &[number], &vec![number; usize::from(number) * 100])
            .await
            .unwrap();
    }
    table
}

#[tokio::test]
async fn what_is_restored_is_what_was_there_when_the_backup_began() {
    let (dir, other) = (TempDir::new(), TempDir::new());
    let table = filled(&dir).await;
    // A row that is written while the backup runs is not in it.
    struct Meanwhile(Durable, All);
    impl Pass for Meanwhile {
        fn row(&mut self, name: &str, row: Row) -> Result<Row, String> {
            if self.1.rows == 0 {
                let table = self.0.clone();
                let write = async move { put(&table, b"late", b"row").await };
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                let written = std::thread::spawn(move || runtime.unwrap().block_on(write));
                written.join().unwrap().unwrap();
            }
            self.1.row(name, row)
        }

        fn progress(&mut self, progress: Progress) {
            self.1.progress(progress);
        }
    }
    let mut pass = Meanwhile(table.clone(), All::default());
    let mut backup = Vec::new();
    assert_eq!(table.backup(&mut backup, &mut pass).unwrap(), 50);
    assert_eq!(pass.1.last, Some(Progress { rows: 50, of: 50 }));
    assert!(table.get("rows", b"late").unwrap().is_some());

    assert_eq!(restored(other.path(), &backup).unwrap(), 50);
    let mut rows = table.scan("rows", &Keys::all(), 100).unwrap();
    rows.retain(|(key, _)| key != b"late");
    let again = other.open();
    assert_eq!(again.scan("rows", &Keys::all(), 100).unwrap(), rows);
    assert_eq!(again.count("rows").unwrap(), 50);
    put(&again, b"new", b"row").await.unwrap();
}

#[tokio::test]
async fn a_damaged_backup_is_refused_at_every_byte_and_leaves_no_table() {
    let (dir, other) = (TempDir::new(), TempDir::new());
    let table = dir.open();
    put(&table, b"key", b"value").await.unwrap();
    let backup = backup_of(&table);
    for place in 0..backup.len() {
        let mut flipped = backup.clone();
        flipped[place] ^= 0x40;
        assert!(
            restored(other.path(), &flipped).is_err(),
            "byte {place} flipped"
        );
        assert!(
            restored(other.path(), &backup[..place]).is_err(),
            "cut at {place}"
        );
        assert!(!other.path().join("table.redb").exists());
    }
    let longer = [&backup[..], b"\n"].concat();
    assert!(
        restored(other.path(), &longer).is_err(),
        "something behind it"
    );
    assert!(!other.path().join("table.redb").exists());
    assert_eq!(restored(other.path(), &backup).unwrap(), 1);
}

#[tokio::test]
async fn a_table_that_is_there_is_not_restored_over() {
    let dir = TempDir::new();
    let table = filled(&dir).await;
    let backup = backup_of(&table);
    assert!(matches!(
        restored(dir.path(), &backup),
        Err(BackupError::Open(_))
    ));
    table.close().await;
    assert!(matches!(
        restored(dir.path(), &backup),
        Err(BackupError::Occupied(_))
    ));
    let table = dir.open();
    assert_eq!(table.count("rows").unwrap(), 50);
}

#[tokio::test]
async fn the_backup_of_another_application_is_refused() {
    let dir = TempDir::new();
    let backup = backup_of(&filled(&dir).await);
    for options in [Options::new("other", 1), Options::new("durable-test", 2)] {
        let refused = durable::verify(&mut &*backup, &options, &mut All::default());
        assert!(matches!(refused, Err(BackupError::Foreign { .. })));
    }
    let mut pass = All::default();
    assert_eq!(
        durable::verify(&mut &*backup, &options(), &mut pass).unwrap(),
        50
    );
    assert_eq!(pass.rows, 50);
}

#[tokio::test]
async fn a_row_that_is_refused_ends_a_restore() {
    struct None;
    impl Pass for None {
        fn row(&mut self, table: &str, _: Row) -> Result<Row, String> {
            Err(format!("not of {table}"))
        }

        fn progress(&mut self, _: Progress) {}
    }
    let (dir, other) = (TempDir::new(), TempDir::new());
    let backup = backup_of(&filled(&dir).await);
    let refused = durable::restore(other.path(), &options(), &mut &*backup, &mut None);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "a row is refused: not of rows"
    );
    assert!(!other.path().join("table.redb").exists());
}
