//! The registration of a stem: where it is cut into application and role, a hostname does not say.

use std::sync::Arc;

use super::{AllocateError, json, read};
use crate::{
    documents::{StemDocument, layout},
    hostname::{Prefix, Surroundings},
    store::{DocumentStore, Read, Write},
};

/// Who has the hostnames with these surroundings, as far as a read tells: nobody may be wrong.
///
/// # Errors
/// The store did not tell, or the registration was deleted.
pub(crate) async fn stem_owner(
    store: &Arc<dyn DocumentStore>,
    surroundings: &Surroundings,
) -> Result<Option<StemDocument>, AllocateError> {
    match read::<StemDocument>(store, &layout::stem(surroundings)).await? {
        Read::Present { data, .. } => Ok(Some(data)),
        Read::Absent => Ok(None),
        Read::Deleted { .. } => Err(AllocateError::Deleted("registration of the stem")),
    }
}

/// Registers the cut that `prefix` makes of its stem: before the first number of such a form, so that
/// whoever is refused has registered nothing. That nobody has it is only proven by writing it.
pub(super) async fn register_stem(
    store: &Arc<dyn DocumentStore>,
    prefix: &Prefix,
    surroundings: &Surroundings,
) -> Result<(), AllocateError> {
    let path = layout::stem(surroundings);
    let own = StemDocument::of(prefix);
    loop {
        match stem_owner(store, surroundings).await? {
            Some(owner) if owner.is_of(prefix) => return Ok(()),
            Some(owner) => return Err(AllocateError::Ambiguous(Box::new(owner))),
            None => (),
        }
        // Refused: the read was stale, and the next one may be.
        if store.write(&path, 0, &json(&path, &own)?).await? == Write::Written {
            return Ok(());
        }
        super::driver::pause_before_repeat().await;
    }
}
