//! The registry of stems: where a stem is cut into application and role, a hostname does not say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
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
    looks: Mutex<HashMap<Prefix, Look>>,
}

/// What is known of a prefix. Callers that come at once share one look.
#[derive(Clone)]
enum Look {
    Own,
    UnderWay(Shared<BoxFuture<'static, Result<(), HostnameError>>>),
}

impl Stems {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self {
            store,
            looks: Mutex::default(),
        }
    }

    /// Registers the cut that `prefix` makes, unless another one is registered.
    pub(super) async fn check(&self, prefix: &Prefix) -> Result<(), HostnameError> {
        let Look::UnderWay(look) = self.look(prefix) else {
            return Ok(());
        };
        let outcome = look.clone().await;
        let mut looks = self.looks();
        // A look that failed is not remembered, but a newer one may stand in its place.
        let current = |it: &Look| matches!(it, Look::UnderWay(other) if look.ptr_eq(other));
        if looks.get(prefix).is_some_and(current) {
            match outcome {
                Ok(()) => looks.insert(prefix.clone(), Look::Own),
                Err(_) => looks.remove(prefix),
            };
        }
        outcome
    }

    fn look(&self, prefix: &Prefix) -> Look {
        let mut looks = self.looks();
        if let Some(look) = looks.get(prefix) {
            return look.clone();
        }
        if looks.len() >= REMEMBERED {
            looks.clear();
        }
        let look = Look::UnderWay(
            register(Arc::clone(&self.store), prefix.clone())
                .boxed()
                .shared(),
        );
        looks.insert(prefix.clone(), look.clone());
        look
    }

    fn looks(&self) -> MutexGuard<'_, HashMap<Prefix, Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn register(store: Arc<dyn DocumentStore>, prefix: Prefix) -> Result<(), HostnameError> {
    let owner = owner(&store, &prefix).await?;
    if owner.application != prefix.application || owner.role != prefix.role {
        return Err(HostnameError::AmbiguousPrefix(owner));
    }
    Ok(())
}

/// Who has the stem: whoever wrote its document, which is written once. That nobody has is only proven
/// by writing it.
async fn owner(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
) -> Result<StemDocument, HostnameError> {
    let path = layout::stem(prefix);
    let own = StemDocument {
        format: Format,
        application: prefix.application.clone(),
        role: prefix.role.clone(),
    };
    loop {
        match read::<StemDocument>(store, &path).await? {
            Read::Present { data, .. } => return Ok(data),
            Read::Deleted { .. } => {
                return Err(AllocateError::Deleted("registration of the stem").into());
            }
            Read::Absent => (),
        }
        match store.write(&path, 0, &json(&path, &own)?).await {
            Ok(Write::Written) => return Ok(own),
            Ok(Write::Mismatch) | Err(StoreError::Unknown(_) | StoreError::Busy) => {
                sleep(PAUSE).await
            }
            Err(error) => return Err(error.into()),
        }
    }
}
