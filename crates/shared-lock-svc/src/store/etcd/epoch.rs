//! The name of this etcd's life, kept in etcd unless the operator gives one.
//!
//! An etcd that was replaced by an empty one counts revisions, and so tokens, from the beginning. That
//! shows by its name: no etcd is taken for the same after a stream to it broke, before it has told it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use etcd_client::{Compare, CompareOp, GetOptions, TxnOp, TxnOpResponse};
use tracing::warn;
use uuid::Uuid;

use super::{Core, fault::Fault, keys::EPOCH, proposal::Proposal};

/// What is known of the stored epoch.
#[derive(Default)]
pub(super) struct Epoch(Mutex<Known>);

#[derive(Default)]
struct Known {
    name: Option<String>,
    /// It may be another etcd by now.
    doubted: bool,
    /// Counts the doubts: an answer that was asked for before one does not end it.
    doubts: u64,
}

impl Epoch {
    /// The name, if it is beyond doubt.
    fn certain(&self) -> Option<String> {
        let known = self.known();
        known.name.clone().filter(|_| !known.doubted)
    }

    /// Notes that etcd may be another one from now on.
    pub(super) fn doubt(&self) {
        let mut known = self.known();
        known.doubted = true;
        known.doubts += 1;
    }

    fn doubts(&self) -> u64 {
        self.known().doubts
    }

    /// Notes what etcd says its name is; the former one, if it is another.
    fn learn(&self, name: &str, doubts: u64) -> Option<String> {
        let mut known = self.known();
        known.doubted &= known.doubts != doubts;
        let former = known.name.replace(name.to_owned());
        former.filter(|former| former != name)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// The token epoch, as far as it needs no question to etcd.
    pub(super) fn known_epoch(&self) -> Option<String> {
        let given = self.options.token_epoch.clone();
        given.or_else(|| self.epoch.certain())
    }

    /// The token epoch, made by whichever replica comes first.
    pub(super) async fn token_epoch(&self) -> Result<String, Fault> {
        match self.known_epoch() {
            Some(epoch) => Ok(epoch),
            None => self.ask_epoch().await,
        }
    }

    /// Asks etcd for its name, and gives it one if it has none.
    pub(super) async fn ask_epoch(&self) -> Result<String, Fault> {
        let doubts = self.epoch.doubts();
        let name = self.stored_epoch().await?;
        if let Some(former) = self.epoch.learn(&name, doubts) {
            warn!(
                epoch.former = former,
                epoch.name = name,
                "etcd was replaced: its tokens begin anew in epoch {name}, after {former}"
            );
        }
        Ok(name)
    }

    async fn stored_epoch(&self) -> Result<String, Fault> {
        // No write where none is needed: a full etcd takes none.
        let stored = self.etcd.get(EPOCH.as_bytes(), GetOptions::new()).await?;
        if let Some(stored) = stored.kvs().first() {
            return Ok(String::from_utf8_lossy(stored.value()).into_owned());
        }
        let ours = Uuid::new_v4().to_string();
        let absent = Compare::create_revision(EPOCH, CompareOp::Equal, 0);
        let put = TxnOp::put(EPOCH, ours.as_str(), None);
        let create = Proposal::alone([absent], [put]).or_else([TxnOp::get(EPOCH, None)]);
        let answer = self.etcd.propose(create).await?;
        match answer.responses.first() {
            _ if answer.succeeded => Ok(ours),
            Some(TxnOpResponse::Get(get)) if !get.kvs().is_empty() => {
                Ok(String::from_utf8_lossy(get.kvs()[0].value()).into_owned())
            }
            _ => Err(Fault::Lost("etcd did not name its epoch".into())),
        }
    }
}
