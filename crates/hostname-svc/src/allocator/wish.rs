//! What callers ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hostname::{Counter, Prefix};

/// What is asked for. Its JSON is what an idempotency key belongs to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wish {
    /// The prefix of the hostname.
    #[serde(flatten)]
    pub prefix: Prefix,
    /// Which numbers.
    #[serde(default, skip_serializing_if = "Want::is_one")]
    pub want: Want,
    /// What the records will say.
    #[serde(flatten)]
    pub remarks: Remarks,
}

/// What callers say about their hostnames.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remarks {
    /// Whom they are for.
    pub requested_by: Option<String>,
    /// What they are for.
    pub reason: Option<String>,
    /// Labels of the caller.
    pub labels: BTreeMap<String, String>,
}

/// Which numbers of a prefix somebody wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// The next one.
    #[default]
    One,
    /// The next ones, so many.
    Count(usize),
    /// These, in rising order: names that were made elsewhere.
    Chosen(Vec<Counter>),
    /// None: no number up to this one is to be given out any more.
    Floor(u64),
}

impl Want {
    /// How many numbers a move of the counter gives out for it.
    pub(crate) fn numbers(&self) -> usize {
        match self {
            Self::One | Self::Floor(_) => 1,
            Self::Count(count) => *count,
            Self::Chosen(chosen) => chosen.len(),
        }
    }

    fn is_one(&self) -> bool {
        *self == Self::One
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::allocator::world::prefix;

    #[test]
    fn a_wish_for_one_hostname_is_written_as_ever() {
        let wish = |want| Wish {
            prefix: prefix(),
            want,
            remarks: Remarks::default(),
        };
        let one = json!({
            "application": "splunk", "role": "web", "environment": "dev",
            "requested_by": null, "reason": null, "labels": {},
        });
        assert_eq!(
            serde_json::to_string(&wish(Want::One)).unwrap(),
            r#"{"application":"splunk","role":"web","environment":"dev","requested_by":null,"reason":null,"labels":{}}"#
        );
        let mut many = one;
        many["want"] = json!({ "count": 3 });
        assert_eq!(serde_json::to_value(wish(Want::Count(3))).unwrap(), many);
    }
}
