//! Where documents are. Parts are path segments, never joined by a character that may stand in them.

use uuid::Uuid;

use super::{KeyHash, Operation};
use crate::{
    hostname::{Hostname, Prefix, Surroundings},
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

/// An operation; none for an id that does not tell when it was made.
pub fn operation(id: &Uuid) -> Option<DocumentPath> {
    Some(operations(Operation::day(id)?).child(&id.to_string()))
}

/// The folder of all operations that were asked for on a day.
pub fn operations(day: u64) -> DocumentPath {
    DocumentPath::new(&["operations", &day.to_string()])
}

/// Who may have the hostnames with these texts around their counters. A text that is empty is a hyphen there,
/// which none is.
pub fn stem(surroundings: &Surroundings) -> DocumentPath {
    let Surroundings { before, behind } = surroundings;
    let named = |text: &'_ String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.clone()
        }
    };
    DocumentPath::new(&["stems", &named(before), &named(behind)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::Shape;

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
        let stem = |a, r| stem(&Shape::default().template.surroundings(&prefix(a, r)));
        assert_eq!(stem("web", "app"), stem("we", "bapp"));
        assert_eq!(stem("web", "app").as_str(), "stems/webapp/dev");
    }
}
