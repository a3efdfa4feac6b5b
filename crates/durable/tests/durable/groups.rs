//! Jobs that are committed together.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use durable::{Commit, Durable, Keys, Options, WriteError};
use futures_util::future::{join_all, poll_immediate};

use crate::dir::{TempDir, options, put};

/// A table whose committing thread can be held, so that jobs gather behind the held one.
struct Held {
    table: Durable,
    commits: Arc<Mutex<Vec<Commit>>>,
    _dir: TempDir,
}

impl Held {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        let dir = TempDir::new();
        let commits = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&commits);
        let mut options = options();
        options.on_commit = Some(Arc::new(move |commit| seen.lock().unwrap().push(*commit)));
        change(&mut options);
        Self {
            table: Durable::open(dir.path(), options).unwrap(),
            commits,
            _dir: dir,
        }
    }

    /// Holds the committing thread inside a job until the sender is used or dropped.
    async fn hold(&self) -> Sender<()> {
        let (started, has_started) = tokio::sync::oneshot::channel();
        let (go, may_go): (Sender<()>, Receiver<()>) = channel();
        let table = self.table.clone();
        tokio::spawn(async move {
            table
                .transact(move |_| {
                    let _ = started.send(());
                    let _ = may_go.recv();
                    Ok::<_, WriteError>(())
                })
                .await
        });
        has_started.await.unwrap();
        go
    }

    fn commits(&self) -> Vec<Commit> {
        self.commits.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn jobs_that_wait_together_are_committed_together_and_in_order() {
    let held = Held::new(|_| ());
    let go = held.hold().await;
    let mut jobs = Vec::new();
    for number in 0..100u8 {
        let mut job = Box::pin(held.table.transact(move |tx| {
            let mut order = tx.get("rows", b"order")?.unwrap_or_default();
            order.push(number);
            tx.put("rows", b"order", &order);
            Ok::<_, WriteError>(order.len())
        }));
        assert!(poll_immediate(&mut job).await.is_none());
        jobs.push(job);
    }
    assert_eq!(held.table.queue_depth(), 100);
    drop(go);
    let lengths: Vec<usize> = join_all(jobs)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(lengths, (1..=100).collect::<Vec<_>>());
    let order = held.table.get("rows", b"order").unwrap().unwrap();
    assert_eq!(order, (0..100).collect::<Vec<u8>>());
    let commits = held.commits();
    assert_eq!(commits.len(), 1);
    // The held job is part of the group; all wrote the same row.
    assert_eq!((commits[0].jobs, commits[0].rows), (101, 1));
}

#[tokio::test]
async fn a_refusing_and_a_panicking_job_leave_nothing_and_disturb_nobody() {
    let held = Held::new(|_| ());
    let go = held.hold().await;
    let table = &held.table;
    let kept = put(table, b"before", b"kept");
    let refused = table.transact(|tx| {
        tx.put("rows", b"refused", b"");
        tx.delete("rows", b"before");
        Err::<(), _>(Refusal::Mine)
    });
    let panicked = table.transact(|tx| {
        tx.put("rows", b"panicked", b"");
        assert!(
            tx.get("rows", b"refused").unwrap().is_some(),
            "this panic is part of the test"
        );
        Ok::<_, Refusal>(())
    });
    let also_kept = put(table, b"after", b"kept");
    let all = async { tokio::join!(kept, refused, panicked, also_kept) };
    let mut all = Box::pin(all);
    assert!(poll_immediate(&mut all).await.is_none());
    drop(go);
    let (kept, refused, panicked, also_kept) = all.await;
    assert!(kept.is_ok() && also_kept.is_ok());
    assert!(matches!(refused, Err(Refusal::Mine)));
    assert!(matches!(
        panicked,
        Err(Refusal::Store(WriteError::Panicked))
    ));
    let rows = table.scan("rows", &Keys::all(), 10).unwrap();
    let keys: Vec<_> = rows.iter().map(|(key, _)| key.as_slice()).collect();
    assert_eq!(keys, [b"after".as_slice(), b"before"]);
    assert_eq!(held.commits().len(), 1);
    put(table, b"later", b"the thread lives on").await.unwrap();
}

#[tokio::test]
async fn jobs_that_write_nothing_commit_nothing() {
    let held = Held::new(|_| ());
    put(&held.table, b"k", b"v").await.unwrap();
    for _ in 0..10 {
        let read = held.table.transact(|tx| tx.get("rows", b"k")).await;
        assert_eq!(read.unwrap(), Some(b"v".to_vec()));
    }
    assert_eq!(held.commits().len(), 1);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let held = Held::new(|options| options.max_queue = 3);
    let go = held.hold().await;
    let mut waiting: Vec<_> = (0..3)
        .map(|_| Box::pin(put(&held.table, b"k", b"v")))
        .collect();
    for job in &mut waiting {
        assert!(poll_immediate(job).await.is_none());
    }
    let refused = poll_immediate(Box::pin(put(&held.table, b"k", b"v"))).await;
    assert!(matches!(refused, Some(Err(WriteError::Busy))));
    drop(go);
    for job in waiting {
        job.await.unwrap();
    }
    put(&held.table, b"k", b"v").await.unwrap();
}

#[tokio::test]
async fn groups_are_bounded_in_jobs_and_in_bytes() {
    let held = Held::new(|options| {
        options.max_group_jobs = 4;
        options.max_group_bytes = 100;
    });
    let go = held.hold().await;
    let mut jobs: Vec<_> = (0..9u8)
        .map(|number| {
            let table = held.table.clone();
            let value = vec![0; if number < 6 { 1 } else { 100 }];
            Box::pin(async move { put(&table, &[number], &value).await })
        })
        .collect();
    for job in &mut jobs {
        assert!(poll_immediate(job).await.is_none());
    }
    drop(go);
    for job in jobs {
        job.await.unwrap();
    }
    let sizes: Vec<_> = held.commits().iter().map(|commit| commit.jobs).collect();
    // The held one and three; three small ones and a large one; and one for each large one.
    assert_eq!(sizes, [4, 4, 1, 1]);
}

#[tokio::test]
async fn a_job_whose_caller_has_gone_is_run_all_the_same() {
    let held = Held::new(|_| ());
    let go = held.hold().await;
    let mut job = Box::pin(put(&held.table, b"k", b"v"));
    assert!(poll_immediate(&mut job).await.is_none());
    drop(job);
    drop(go);
    put(&held.table, b"next", b"").await.unwrap();
    assert_eq!(held.table.get("rows", b"k").unwrap(), Some(b"v".to_vec()));
}

#[tokio::test]
async fn closing_finishes_what_waits_and_takes_nothing_new() {
    let held = Held::new(|_| ());
    let go = held.hold().await;
    let mut job = Box::pin(put(&held.table, b"k", b"v"));
    assert!(poll_immediate(&mut job).await.is_none());
    let mut closing = Box::pin(held.table.clone().close());
    assert!(poll_immediate(&mut closing).await.is_none());
    drop(go);
    closing.await;
    job.await.unwrap();
    let late = put(&held.table, b"late", b"").await;
    assert!(matches!(late, Err(WriteError::Closed)));
    assert_eq!(held.table.get("rows", b"k").unwrap(), Some(b"v".to_vec()));
}

#[derive(Debug)]
enum Refusal {
    Mine,
    Store(WriteError),
}

impl From<WriteError> for Refusal {
    fn from(failed: WriteError) -> Self {
        Self::Store(failed)
    }
}
