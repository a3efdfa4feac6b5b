//! The registry of stems: where a stem is cut into application and role, a hostname does not say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::HostnameError;
use crate::{
    allocator::{AllocateError, stem_owner},
    hostname::Prefix,
    store::DocumentStore,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

/// How many prefixes are remembered; a registration never changes, so it is looked up once.
const REMEMBERED: usize = 100_000;

pub(super) struct Stems {
    store: Arc<dyn DocumentStore>,
    looks: Mutex<HashMap<Prefix, Look>>,
}

/// What is known of a prefix. Callers that come at once share one look.
#[derive(Clone)]
enum Look {
    Own,
    UnderWay(Shared<BoxFuture<'static, Result<Found, HostnameError>>>),
}

/// Who has a stem, when it is not somebody else.
#[derive(Clone, Copy)]
enum Found {
    Own,
    Nobody,
}

impl Stems {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self {
            store,
            looks: Mutex::default(),
        }
    }

    /// Refuses `prefix` when another cut of its stem is registered.
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
                Ok(Found::Own) => looks.insert(prefix.clone(), Look::Own),
                Ok(Found::Nobody) | Err(_) => looks.remove(prefix),
            };
        }
        outcome.map(|_| ())
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
            examine(Arc::clone(&self.store), prefix.clone())
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

/// Whether the cut that `prefix` makes is the registered one, or none is yet: it is registered before
/// the first number of the prefix is given out.
async fn examine(store: Arc<dyn DocumentStore>, prefix: Prefix) -> Result<Found, HostnameError> {
    match stem_owner(&store, &prefix).await? {
        None => Ok(Found::Nobody),
        Some(owner) if owner.application == prefix.application && owner.role == prefix.role => {
            Ok(Found::Own)
        }
        Some(owner) => Err(AllocateError::Ambiguous(Box::new(owner)).into()),
    }
}
