//! The registry of stems: where a stem is cut into application and role, a hostname does not say.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

use super::HostnameError;
use crate::{
    allocator::{AllocateError, json, read},
    documents::{Format, StemDocument, layout},
    hostname::Prefix,
    store::{DocumentStore, Read, StoreError, Write},
};

/// How many prefixes are remembered; a registration never changes, so it is looked up once.
const REMEMBERED: usize = 100_000;
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Stems {
    store: Arc<dyn DocumentStore>,
    known: Mutex<HashSet<Prefix>>,
}

impl Stems {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    /// Registers the cut that `prefix` makes, unless another one is registered.
    pub(super) async fn check(&self, prefix: &Prefix) -> Result<(), HostnameError> {
        if self.known().contains(prefix) {
            return Ok(());
        }
        let owner = self.owner(prefix).await?;
        if owner.application != prefix.application || owner.role != prefix.role {
            return Err(HostnameError::AmbiguousPrefix(owner));
        }
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(prefix.clone());
        Ok(())
    }

    /// Who has the stem: whoever wrote its document, which is written once. That nobody has is only
    /// proven by writing it.
    async fn owner(&self, prefix: &Prefix) -> Result<StemDocument, HostnameError> {
        let path = layout::stem(prefix);
        let own = StemDocument {
            format: Format,
            application: prefix.application.clone(),
            role: prefix.role.clone(),
        };
        loop {
            match read::<StemDocument>(&self.store, &path).await? {
                Read::Present { data, .. } => return Ok(data),
                Read::Deleted { .. } => return Err(AllocateError::Deleted("registration of the stem").into()),
                Read::Absent => (),
            }
            match self.store.write(&path, 0, &json(&path, &own)?).await {
                Ok(Write::Written) => return Ok(own),
                Ok(Write::Mismatch) | Err(StoreError::Unknown(_) | StoreError::Busy) => sleep(PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Prefix>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
