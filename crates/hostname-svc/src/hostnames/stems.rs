//! The registry of stems: where a stem is cut into application and role, a hostname does not say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::HostnameError;
use crate::{
    allocator::{AllocateError, stem_owner},
    hostname::{Prefix, Shape, Surroundings},
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
    looks: Mutex<HashMap<Form, Look>>,
}

/// A prefix, and what its hostnames have around their counters.
type Form = (Prefix, Surroundings);

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

    /// Refuses `prefix` when another cut of its stem, in hostnames of this shape, is registered.
    pub(super) async fn check(&self, prefix: &Prefix, shape: &Shape) -> Result<(), HostnameError> {
        let form = (prefix.clone(), shape.template.surroundings(prefix));
        let Look::UnderWay(look) = self.look(&form) else {
            return Ok(());
        };
        let outcome = look.clone().await;
        let mut looks = self.looks();
        // A look that failed is not remembered, but a newer one may stand in its place.
        let current = |it: &Look| matches!(it, Look::UnderWay(other) if look.ptr_eq(other));
        if looks.get(&form).is_some_and(current) {
            match outcome {
                Ok(Found::Own) => looks.insert(form, Look::Own),
                Ok(Found::Nobody) | Err(_) => looks.remove(&form),
            };
        }
        outcome.map(|_| ())
    }

    fn look(&self, form: &Form) -> Look {
        let mut looks = self.looks();
        if let Some(look) = looks.get(form) {
            return look.clone();
        }
        if looks.len() >= REMEMBERED {
            looks.clear();
        }
        let look = Look::UnderWay(
            examine(Arc::clone(&self.store), form.clone())
                .boxed()
                .shared(),
        );
        looks.insert(form.clone(), look.clone());
        look
    }

    fn looks(&self) -> MutexGuard<'_, HashMap<Form, Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the cut that `prefix` makes is the registered one, or none is yet: it is registered before
/// the first number of the prefix is given out.
async fn examine(store: Arc<dyn DocumentStore>, form: Form) -> Result<Found, HostnameError> {
    let (prefix, surroundings) = form;
    match stem_owner(&store, &surroundings).await? {
        None => Ok(Found::Nobody),
        Some(owner) if owner.is_of(&prefix) => Ok(Found::Own),
        Some(owner) => Err(AllocateError::Ambiguous(Box::new(owner)).into()),
    }
}
