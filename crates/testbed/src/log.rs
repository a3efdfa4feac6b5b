//! What a process printed.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
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
    lines: Mutex<VecDeque<String>>,
    arrived: watch::Sender<u64>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            lines: Mutex::default(),
            arrived: watch::Sender::new(0),
        }))
    }

    /// Everything printed so far.
    pub fn text(&self) -> String {
        self.last(KEPT)
    }

    /// The last `count` lines.
    pub fn last(&self, count: usize) -> String {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
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
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().rev().find_map(|line| find(line))
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

    /// Reads `from` to its end, giving each line to `each` as well.
    pub(crate) fn fill(&self, from: impl Read, mut each: impl FnMut(&str)) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            each(&text);
            self.push(text);
            line.clear();
        }
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
        drop(lines);
        self.0.arrived.send_modify(|count| *count += 1);
    }
}
