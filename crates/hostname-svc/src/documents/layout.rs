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

/// That a hostname of a prefix is retired.
pub fn retirement(prefix: &Prefix, hostname: &Hostname) -> DocumentPath {
    retirements(prefix).child(hostname.as_str())
}

/// The folder of all retired hostnames of a prefix.
pub fn retirements(prefix: &Prefix) -> DocumentPath {
    DocumentPath::new(&[
        "retired",
        prefix.application.as_str(),
        prefix.role.as_str(),
        prefix.environment.as_str(),
    ])
}

/// Who may use a stem in an environment.
pub fn stem(prefix: &Prefix) -> DocumentPath {
    DocumentPath::new(&["stems", prefix.stem().as_str(), prefix.environment.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_different_prefixes_are_different() {
        let prefix = |a: &str, r: &str| {
            Prefix::new(
                a.to_owned().try_into().unwrap(),
                r.to_owned().try_into().unwrap(),
                "dev".to_owned().try_into().unwrap(),
            )
            .unwrap()
        };
        assert_ne!(counter(&prefix("a-b", "c")), counter(&prefix("a", "b-c")));
        assert_eq!(counter(&prefix("a-b", "c")).as_str(), "counters/a-b/c/dev");
        assert_eq!(stem(&prefix("web", "app")), stem(&prefix("we", "bapp")));
    }
}
