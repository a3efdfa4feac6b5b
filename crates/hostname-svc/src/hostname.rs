//! The values of a hostname and the rules that make it readable one way only. No I/O.
//!
//! A hostname is `<application><role><counter><environment>`, or what a policy makes of these parts
//! ([`Shape`]), one RFC 1123 label. The rules are chosen so that its counter is always its *last* run of
//! digits: what stands before it does not end in a digit, and what stands behind it has none. So a
//! hostname says its counter and what surrounds it beyond doubt. Where the text before it is cut into
//! application and role it cannot say, so a registry keeps (`web`, `app`) and (`we`, `bapp`) apart.
//!
//! Hyphens are allowed inside a part, one at a time: they are no digits, so they change nothing in the
//! reasoning above, and a label made of such parts neither begins nor ends with one (RFC 1123) nor has
//! two in a row (`xn--` and its like are taken).

#[cfg(test)]
mod ambiguity;
mod part;
mod shape;

use std::{fmt, num::NonZeroU64};

use serde::{Deserialize, Serialize};

pub use self::{
    part::{Application, Environment, InvalidField, Role},
    shape::{Shape, Surroundings, Template},
};

/// Longest DNS label (RFC 1035).
const LABEL_MAX: usize = 63;
/// Highest number of any prefix: beyond 2^53 not every JSON parser keeps a number.
const COUNTER_MAX: u64 = (1 << 53) - 1;

/// The application, role and environment that share a counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prefix {
    /// The application.
    pub application: Application,
    /// The role.
    pub role: Role,
    /// The environment.
    pub environment: Environment,
}

impl Prefix {
    /// A prefix whose parts leave room for a counter.
    ///
    /// # Errors
    /// They are too long together.
    pub fn new(
        application: Application,
        role: Role,
        environment: Environment,
    ) -> Result<Self, InvalidField> {
        let prefix = Self {
            application,
            role,
            environment,
        };
        if prefix.len() >= LABEL_MAX {
            let allowed = format!(
                "application, role and environment must be at most {} characters together, since a hostname with its \
                 counter is a label of at most {LABEL_MAX}; they are {}",
                LABEL_MAX - 1,
                prefix.len()
            );
            return Err(InvalidField::new("application", allowed));
        }
        Ok(prefix)
    }

    /// Its hostname where no policy says otherwise.
    #[cfg(test)]
    pub(crate) fn hostname(&self, counter: Counter) -> Option<Hostname> {
        Shape::default().hostname(self, counter)
    }

    /// The highest number that a hostname of this prefix can have, whatever its shape.
    pub fn last(&self) -> u64 {
        Shape::default().last(self)
    }

    fn len(&self) -> usize {
        self.application.as_str().len() + self.role.as_str().len() + self.environment.as_str().len()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.application, self.role, self.environment)
    }
}

/// The number in a hostname: 1, 2, 3 … of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counter(NonZeroU64);

impl Counter {
    /// The first number of all.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The counter `number`; `None` for 0, which no hostname has.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The counter as a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A hostname: one RFC 1123 label in lowercase.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// The hostname as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Hostname {
    type Error = InvalidField;

    fn try_from(text: String) -> Result<Self, InvalidField> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let edge = text.starts_with('-') || text.ends_with('-');
        if text.is_empty() || text.len() > LABEL_MAX || edge || !text.chars().all(legal) {
            let allowed = format!(
                "must be a label of 1 to {LABEL_MAX} lowercase letters (a-z), digits (0-9) and inner hyphens"
            );
            return Err(InvalidField::new("hostname", allowed));
        }
        Ok(Self(text))
    }
}

impl From<Hostname> for String {
    fn from(hostname: Hostname) -> Self {
        hostname.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn application(text: &str) -> Result<Application, InvalidField> {
        Application::try_from(text.to_owned())
    }

    fn prefix(application: &str, role: &str, environment: &str) -> Prefix {
        Prefix::new(
            application.to_owned().try_into().unwrap(),
            role.to_owned().try_into().unwrap(),
            environment.to_owned().try_into().unwrap(),
        )
        .unwrap()
    }

    fn surroundings(prefix: &Prefix) -> Surroundings {
        Shape::default().template.surroundings(prefix)
    }

    /// Reads a hostname as the rules promise that it can be read.
    fn decode(hostname: &Hostname) -> (String, u64, String) {
        let text = hostname.as_str();
        let end = text.rfind(|c: char| c.is_ascii_digit()).unwrap() + 1;
        let start = text[..end].rfind(|c: char| !c.is_ascii_digit()).unwrap() + 1;
        (
            text[..start].to_owned(),
            text[start..end].parse().unwrap(),
            text[end..].to_owned(),
        )
    }

    proptest! {
        #[test]
        fn a_hostname_says_stem_counter_and_environment(
            application in "[a-z0-9]{1,9}(-[a-z0-9]{1,4}){0,2}",
            role in "([a-z0-9]{1,4}-){0,2}[a-z0-9]{0,6}[a-z]",
            environment in "[a-z]{1,5}(-[a-z]{1,4}){0,2}",
            number in 1..=COUNTER_MAX,
        ) {
            let prefix = prefix(&application, &role, &environment);
            let hostname = prefix.hostname(Counter::new(number).unwrap());
            prop_assume!(hostname.is_some());
            let hostname = hostname.unwrap();
            prop_assert_eq!(decode(&hostname), (format!("{application}{role}"), number, environment));
            prop_assert_eq!(Hostname::try_from(hostname.as_str().to_owned()), Ok(hostname));
        }
    }

    #[test]
    fn two_prefixes_share_a_name_only_with_the_same_stem_and_environment() {
        let words = [
            "a", "b", "ab", "ba", "a1a", "1a", "a-b", "a1", "1", "b-1", "1-a",
        ];
        let mut names: HashMap<Hostname, Surroundings> = HashMap::new();
        for (a, r, e) in triples(&words) {
            let (Ok(role), Ok(environment)) = (Role::try_from(r), Environment::try_from(e)) else {
                continue;
            };
            let prefix = Prefix::new(application(&a).unwrap(), role, environment).unwrap();
            if Shape::default().template.check_digits(&prefix).is_err() {
                continue;
            }
            for number in 1..=125 {
                let name = prefix.hostname(Counter::new(number).unwrap()).unwrap();
                let owner = names.entry(name.clone()).or_insert(surroundings(&prefix));
                assert_eq!(*owner, surroundings(&prefix), "{name}");
            }
        }
    }

    fn triples(words: &[&str]) -> Vec<(String, String, String)> {
        let mut triples = Vec::new();
        for a in words {
            for r in words {
                triples.extend(
                    words
                        .iter()
                        .map(|e| ((*a).into(), (*r).into(), (*e).into())),
                );
            }
        }
        triples
    }

    #[test]
    fn the_counter_stands_between_role_and_environment() {
        let name = prefix("splunk", "web", "dev").hostname(Counter::new(1).unwrap());
        assert_eq!(name.unwrap().as_str(), "splunkweb1dev");
    }

    #[test]
    fn a_label_of_63_is_the_longest() {
        let prefix = prefix(&"a".repeat(40), &"b".repeat(18), "prod");
        assert_eq!(
            prefix
                .hostname(Counter::new(9).unwrap())
                .unwrap()
                .as_str()
                .len(),
            63
        );
        assert_eq!(prefix.hostname(Counter::new(10).unwrap()), None);
        assert_eq!(prefix.last(), 9);
        let too_long = Prefix::new(
            application(&"a".repeat(40)).unwrap(),
            "b".repeat(19).try_into().unwrap(),
            "prod".to_owned().try_into().unwrap(),
        );
        assert!(too_long.unwrap_err().allowed.contains("at most 62"));
    }
}
