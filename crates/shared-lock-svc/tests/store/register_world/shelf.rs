//! A register in memory whose calls take time, get lost, and come late.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use serde_json::Value;
use shared_lock_svc::store::register::{Register, RegisterError, Stored, Swap, Version};
use tokio::time::{Instant, sleep, sleep_until};

use super::rng::Rng;

/// What may be wrong with a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Nothing: it may be slow and lossy.
    Nothing,
    /// It writes whatever version is expected.
    NoCompare,
    /// It forgets a document that says that its lock is free.
    Deletes,
    /// It says now and then that it has written what it has not.
    Lies,
    /// It calls its reads current, and they are not.
    OldReads,
    /// It compares with what it showed last, and not with what there is.
    ReadsThenWrites,
}

pub(super) struct Shelf(Mutex<State>);

struct State {
    wrong: Wrong,
    documents: BTreeMap<String, (u64, Value)>,
    /// What each document was before.
    before: BTreeMap<String, (u64, Value)>,
    next: u64,
    rng: Rng,
    cut_off: BTreeMap<usize, Instant>,
    is_healed: bool,
    lost: usize,
}

/// The register as one replica sees it.
pub(super) struct Seen {
    shelf: Arc<Shelf>,
    replica: usize,
}

impl Shelf {
    pub(super) fn new(rng: Rng, wrong: Wrong) -> Self {
        Self(Mutex::new(State {
            wrong,
            documents: BTreeMap::new(),
            before: BTreeMap::new(),
            next: 1,
            rng,
            cut_off: BTreeMap::new(),
            is_healed: false,
            lost: 0,
        }))
    }

    pub(super) fn seen_by(self: &Arc<Self>, replica: usize) -> Seen {
        Seen {
            shelf: Arc::clone(self),
            replica,
        }
    }

    /// No call of a replica comes through until then.
    pub(super) fn cut_off(&self, replica: usize, until: Instant) {
        self.0.lock().unwrap().cut_off.insert(replica, until);
    }

    /// From now on all goes well.
    pub(super) fn heal(&self) {
        let mut state = self.0.lock().unwrap();
        state.is_healed = true;
        state.cut_off.clear();
    }

    pub(super) fn lost(&self) -> usize {
        self.0.lock().unwrap().lost
    }
}

impl State {
    fn read(&mut self, name: &str) -> Option<Stored> {
        let is_old = self.wrong == Wrong::OldReads && self.rng.chance(30);
        let documents = match is_old {
            true => &self.before,
            false => &self.documents,
        };
        documents.get(name).map(|(version, document)| Stored {
            version: Version(version.to_string()),
            document: document.clone(),
        })
    }

    fn swap(&mut self, name: &str, expected: Option<&Version>, document: &Value) -> Swap {
        let present = self
            .documents
            .get(name)
            .map(|(version, _)| version.to_string());
        let compares = match self.wrong {
            Wrong::NoCompare => false,
            Wrong::ReadsThenWrites => !self.rng.chance(20),
            _ => true,
        };
        if compares && present.as_deref() != expected.map(|Version(version)| version.as_str()) {
            return Swap::Mismatch;
        }
        let version = self.next;
        self.next += 1;
        if self.wrong == Wrong::Lies && self.rng.chance(10) {
            return Swap::Written(Version(version.to_string()));
        }
        let before = self
            .documents
            .insert(name.to_owned(), (version, document.clone()));
        if let Some(before) = before {
            self.before.insert(name.to_owned(), before);
        }
        let is_free = document["holders"].as_array().is_some_and(Vec::is_empty);
        if self.wrong == Wrong::Deletes && is_free {
            self.documents.remove(name);
        }
        Swap::Written(Version(version.to_string()))
    }
}

impl Seen {
    /// A message on its way; `true` when it gets lost.
    async fn travel(&self) -> bool {
        let (delay, is_lost) = {
            let mut state = self.shelf.0.lock().unwrap();
            let late = !state.is_healed && state.rng.chance(3);
            let delay = match late {
                true => state.rng.millis(1_000, 12_000),
                false => state.rng.millis(1, 40),
            };
            (delay, !state.is_healed && state.rng.chance(4))
        };
        sleep(delay).await;
        let cut_off = {
            let state = self.shelf.0.lock().unwrap();
            state.cut_off.get(&self.replica).copied()
        };
        if let Some(until) = cut_off {
            sleep_until(until).await;
        }
        is_lost
    }
}

fn no_answer() -> RegisterError {
    RegisterError::Unknown(anyhow::anyhow!("lost"))
}

#[async_trait]
impl Register for Seen {
    async fn read(&self, name: &str) -> Result<Option<Stored>, RegisterError> {
        if self.travel().await {
            return Err(no_answer());
        }
        let found = self.shelf.0.lock().unwrap().read(name);
        match self.travel().await {
            true => Err(no_answer()),
            false => Ok(found),
        }
    }

    /// Whoever does not wait for it any more does not stop it: it is written when it arrives.
    async fn swap(
        &self,
        name: &str,
        expected: Option<&Version>,
        document: &Value,
    ) -> Result<Swap, RegisterError> {
        let seen = self.shelf.seen_by(self.replica);
        let (name, expected, document) = (name.to_owned(), expected.cloned(), document.clone());
        let arriving = tokio::spawn(async move {
            if seen.travel().await {
                return Err(no_answer());
            }
            let (swap, again) = {
                let mut state = seen.shelf.0.lock().unwrap();
                (
                    state.swap(&name, expected.as_ref(), &document),
                    state.rng.chance(2),
                )
            };
            if again {
                // Sent twice on the way; the second one's answer does not count.
                seen.shelf
                    .0
                    .lock()
                    .unwrap()
                    .swap(&name, expected.as_ref(), &document);
            }
            let is_lost = seen.travel().await;
            match is_lost {
                true => {
                    seen.shelf.0.lock().unwrap().lost += 1;
                    Err(no_answer())
                }
                false => Ok(swap),
            }
        });
        arriving.await.unwrap_or_else(|_| Err(no_answer()))
    }

    fn reads_are_current(&self) -> bool {
        true
    }
}
