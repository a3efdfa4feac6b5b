//! Where documents are. Parts are path segments, never joined by a character that may stand in them.

use super::KeyHash;
use crate::{
    hostname::{Hostname, Prefix},
    store::DocumentPath,
};

/// The folder of all counters, by application, role and environment.
pub const COUNTERS: &str = "counters";

/// The counter of a prefix.
pub fn counter(prefix: &Prefix) -> DocumentPath {
    DocumentPath::new(&[
        COUNTERS,
        prefix.application.as_str(),
        prefix.role.as_str(),
        prefix.environment.as_str(),
    ])
}

/// The record of a hostname: one path per name, whatever prefix it comes from.
pub fn record(hostname: &Hostname) -> DocumentPath {
    let name = hostname.as_str();
    DocumentPath::new(&["hosts", name.get(..2).unwrap_or(name), name])
}

/// What an idempotency key was given.
pub fn idem(key: &KeyHash) -> DocumentPath {
    let text = key.as_str();
    DocumentPath::new(&["idem", text.get(..2).unwrap_or(text), text])
}

/// Who may use a stem in an environment.
pub fn stem(prefix: &Prefix) -> DocumentPath {
    DocumentPath::new(&["stems", prefix.stem().as_str(), prefix.environment.as_str()])
}
