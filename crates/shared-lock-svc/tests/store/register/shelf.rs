//! A register in memory, which loses answers as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use shared_lock_svc::store::register::{Register, RegisterError, Stored, Swap, Version};
use tokio::time::sleep;

/// What becomes of one swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is written, and its answer is lost.
    AnswerLost,
    /// It is not written, and nobody is told.
    Lost,
    /// It is written, and answered as if it had come twice.
    Twice,
    /// It is written later than anybody waits for.
    Late,
}

#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) documents: Mutex<BTreeMap<String, (u64, Value)>>,
    /// What becomes of the next swaps; the ones after that are ordinary.
    pub(crate) fates: Mutex<VecDeque<Fate>>,
    pub(crate) swaps: Mutex<u64>,
    pub(crate) is_silent: std::sync::atomic::AtomicBool,
}

impl Shelf {
    pub(crate) fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates.lock().unwrap().extend(fates);
    }

    pub(crate) fn document(&self, name: &str) -> Value {
        self.documents.lock().unwrap()[name].1.clone()
    }

    pub(crate) fn swaps(&self) -> u64 {
        *self.swaps.lock().unwrap()
    }

    fn write(&self, name: &str, expected: Option<&Version>, document: &Value) -> Swap {
        let mut documents = self.documents.lock().unwrap();
        let present = documents.get(name).map(|(version, _)| version.to_string());
        if present.as_deref() != expected.map(|Version(version)| version.as_str()) {
            return Swap::Mismatch;
        }
        let version = documents.get(name).map_or(1, |(version, _)| version + 1);
        documents.insert(name.to_owned(), (version, document.clone()));
        Swap::Written(Version(version.to_string()))
    }

    async fn present(&self) {
        while self.is_silent.load(std::sync::atomic::Ordering::SeqCst) {
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[async_trait]
impl Register for Shelf {
    async fn read(&self, name: &str) -> Result<Option<Stored>, RegisterError> {
        self.present().await;
        let documents = self.documents.lock().unwrap();
        Ok(documents.get(name).map(|(version, document)| Stored {
            version: Version(version.to_string()),
            document: document.clone(),
        }))
    }

    async fn swap(
        &self,
        name: &str,
        expected: Option<&Version>,
        document: &Value,
    ) -> Result<Swap, RegisterError> {
        self.present().await;
        *self.swaps.lock().unwrap() += 1;
        let fate = self.fates.lock().unwrap().pop_front();
        let lost = || Err(RegisterError::Unknown(anyhow::anyhow!("lost")));
        match fate {
            None => Ok(self.write(name, expected, document)),
            Some(Fate::AnswerLost) => {
                self.write(name, expected, document);
                lost()
            }
            Some(Fate::Lost) => lost(),
            Some(Fate::Twice) => {
                self.write(name, expected, document);
                Ok(self.write(name, expected, document))
            }
            Some(Fate::Late) => {
                sleep(Duration::from_secs(60)).await;
                Ok(self.write(name, expected, document))
            }
        }
    }

    fn reads_are_current(&self) -> bool {
        true
    }
}
