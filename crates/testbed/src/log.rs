//! What a process printed.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Result, anyhow};
use tokio::sync::watch;

/// Older lines are forgotten: a service under load would fill the memory of the test.
const KEPT: usize = 20_000;

/// The lines that a process printed, standard output and standard error in the order in which they came.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    kept: Mutex<Kept>,
    arrived: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    followers: Vec<Follower>,
}

type Follower = Box<dyn Fn(&str) + Send>;

impl Log {
    pub(crate) fn new() -> Self {
        let (kept, arrived) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner { kept, arrived }))
    }

    /// Everything printed so far.
    pub fn text(&self) -> String {
        self.last(KEPT)
    }

    /// The last `count` lines.
    pub fn last(&self, count: usize) -> String {
        let lines = &self.kept().lines;
        let skipped = lines.len().saturating_sub(count);
        lines
            .iter()
            .skip(skipped)
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Whether a line contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.find(|line| line.contains(text).then_some(()))
            .is_some()
    }

    /// The value that `find` makes of the newest line it knows.
    pub fn find<T>(&self, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        self.kept().lines.iter().rev().find_map(|line| find(line))
    }

    /// Waits until a line that contains `text` has been printed.
    ///
    /// # Errors
    /// When there is none after `within`; the message ends with the log.
    pub async fn wait_for(&self, text: &str, within: Duration) -> Result<()> {
        let mut arrived = self.0.arrived.subscribe();
        let found = async {
            while !self.contains(text) {
                if arrived.changed().await.is_err() {
                    break;
                }
            }
        };
        let timed_out = tokio::time::timeout(within, found).await;
        timed_out.map_err(|_| {
            anyhow!(
                "no line with {text:?} within {within:?}; the log:\n{}",
                self.last(40)
            )
        })
    }

    /// Gives `follower` every line, those of the past first. It must not look into this log.
    pub fn follow(&self, follower: impl Fn(&str) + Send + 'static) {
        let mut kept = self.kept();
        kept.lines.iter().for_each(|line| follower(line));
        kept.followers.push(Box::new(follower));
    }

    /// Reads `from` to its end.
    pub(crate) fn fill(&self, from: impl Read) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            self.push(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            line.clear();
        }
    }

    fn push(&self, line: String) {
        let mut kept = self.kept();
        kept.followers.iter().for_each(|follower| follower(&line));
        if kept.lines.len() == KEPT {
            kept.lines.pop_front();
        }
        kept.lines.push_back(line);
        drop(kept);
        self.0.arrived.send_modify(|count| *count += 1);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
