//! The counter of a prefix, and what of it is not settled yet.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{Facts, Fence, Format, IdemDocument, Owner, Record};
use crate::hostname::{Counter, Hostname, Prefix, Shape};

/// The counter of a prefix, and what is not settled yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CounterDocument {
    /// Format of this document.
    pub format: CounterFormat,
    /// The highest number given.
    pub value: u64,
    /// The lock under which it was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// Allocations whose records are perhaps not written yet. Whoever moves the counter next settles
    /// every one of them first.
    #[serde(with = "json_text")]
    pub pending: Vec<Entry>,
    /// Numbers that became no hostname of this prefix, and why.
    #[serde(with = "json_text")]
    pub skipped: BTreeMap<u64, Skip>,
    /// Numbers that nobody was given, because a floor was raised or a higher number imported: the first
    /// and the last one of each run.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        with = "json_text"
    )]
    pub passed: BTreeMap<u64, u64>,
    /// The first number of each run whose hostnames have another form than those before it; none while
    /// all of them have the usual one.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        with = "json_text"
    )]
    pub shapes: BTreeMap<u64, Shape>,
}

impl CounterDocument {
    /// The form of the hostname of `number`.
    pub fn shape(&self, number: u64) -> Shape {
        let run = self.shapes.range(..=number).next_back();
        run.map_or_else(Shape::default, |(_, shape)| shape.clone())
    }

    /// The hostname of a number; `None` when it has none.
    pub fn hostname(&self, prefix: &Prefix, number: Counter) -> Option<Hostname> {
        self.shape(number.get()).hostname(prefix, number)
    }

    /// The hostnames from `number` on have this form, if those before it do not.
    pub fn form(&mut self, number: u64, shape: &Shape) {
        if self.shape(number) != *shape {
            self.shapes.insert(number, shape.clone());
            self.format = CounterFormat::WithShapes;
        }
    }

    /// How many numbers were given out, or are about to be.
    pub fn given(&self) -> u64 {
        let first_ones = [1].into_iter().chain(self.shapes.keys().copied());
        let starts: Vec<u64> = first_ones.collect();
        let ends = starts
            .iter()
            .skip(1)
            .map(|next| next.saturating_sub(1))
            .chain([self.value]);
        let runs = starts.iter().zip(ends).map(|(first, last)| {
            let shape = self.shape(*first);
            let passed = self
                .passed
                .iter()
                .map(|(from, to)| shape.count(*first.max(from), last.min(*to)));
            // Somebody may have written the document by hand.
            shape.count(*first, last).saturating_sub(passed.sum())
        });
        runs.sum::<u64>().saturating_sub(self.skipped.len() as u64)
    }

    /// Raises the value to `to`; the numbers passed over are explained by it.
    ///
    /// Gives how many there are.
    pub fn pass_to(&mut self, to: u64) -> u64 {
        let first = self.value.saturating_add(1);
        if to < first {
            return 0;
        }
        match self.passed.iter_mut().next_back() {
            Some((_, last)) if *last + 1 == first => *last = to,
            _ => {
                self.passed.insert(first, to);
            }
        }
        self.value = to;
        to - first + 1
    }

    /// Whether nobody was ever given this number, because it was passed over or lies between two steps.
    pub fn has_passed(&self, number: u64) -> bool {
        let run = self.passed.range(..=number).next_back();
        run.is_some_and(|(_, last)| number <= *last) || !self.shape(number).holds(number)
    }

    /// How many numbers were passed over.
    pub fn passed_numbers(&self) -> u64 {
        self.passed
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum()
    }

    /// The numbers beyond `after` that became a hostname, or are about to.
    pub fn numbers_after(&self, after: u64) -> impl Iterator<Item = Counter> {
        let mut number = after;
        std::iter::from_fn(move || {
            loop {
                number = number
                    .checked_add(1)
                    .filter(|number| *number <= self.value)?;
                match self.passed.range(..=number).next_back() {
                    Some((_, last)) if number <= *last => number = *last,
                    _ if self.skipped.contains_key(&number) => (),
                    _ if !self.shape(number).holds(number) => (),
                    _ => return Counter::new(number),
                }
            }
        })
    }
}

/// The format of a counter: a version that knows nothing of forms must not move one that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CounterFormat {
    /// All hostnames have the usual form.
    #[default]
    Plain,
    /// Some have another one.
    WithShapes,
}

impl Serialize for CounterFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(*self as u32 + 1)
    }
}

impl<'de> Deserialize<'de> for CounterFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1 => Ok(Self::Plain),
            2 => Ok(Self::WithShapes),
            other => Err(D::Error::custom(format!(
                "format {other} is not known here; this version knows formats 1 and 2"
            ))),
        }
    }
}

/// An allocation on its way from the counter to its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose it is.
    pub owner: Owner,
    /// SHA-256 of what was asked, in hex: the same key with another body is told so.
    pub body_hash: String,
    /// The numbers given.
    pub numbers: Vec<Counter>,
    /// Version of the key's document that this entry replaces: 0, and one more with each replacement
    /// of a number that was taken.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// Why there will be no name; the numbers left are the ones that were recorded already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<GivenUp>,
    /// The lock under which it was allocated; none while the lock service was away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Fence>,
    /// The numbers are the caller's choice: one that is taken is not replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chosen: bool,
    /// What its records will say.
    pub facts: Facts,
}

/// Why an allocation ended without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenUp {
    /// No number is left that fits into a hostname.
    Exhausted,
    /// The prefix has as many hostnames as its policy allows.
    Quota,
    /// Each number tried was taken by somebody else.
    AlwaysTaken,
    /// A number that was chosen had been passed by the counter.
    Passed,
    /// All numbers that were chosen were taken by somebody else.
    Taken,
}

/// A number that became no hostname of this prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Why.
    pub why: SkipReason,
    /// Who has the hostname, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The number that was given in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Counter>,
}

/// Why a number was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SkipReason {
    /// Its hostname belongs to somebody else.
    Taken,
    /// It was a second number for a key that had one.
    Duplicate,
}

impl SkipReason {
    /// The reason as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Duplicate => "duplicate",
        }
    }
}

impl Entry {
    /// The document of its key.
    pub fn idem(&self, prefix: &Prefix) -> IdemDocument {
        IdemDocument {
            format: Format,
            prefix: prefix.clone(),
            body_hash: self.body_hash.clone(),
            numbers: self.numbers.clone(),
            failed: self.failed,
        }
    }

    /// Its record for `counter`, whose hostname is `hostname`.
    pub fn record(&self, prefix: &Prefix, counter: Counter, hostname: Hostname) -> Record {
        Record {
            format: Format,
            hostname,
            application: prefix.application.clone(),
            role: prefix.role.clone(),
            counter,
            environment: prefix.environment.clone(),
            owner: self.owner.clone(),
            lock: self.lock.clone(),
            facts: self.facts.clone(),
        }
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exhausted => {
                "no number is left whose hostname is not too long"
            }
            Self::Quota => "the prefix has as many hostnames as its policy allows",
            Self::AlwaysTaken => "every number tried was taken by somebody else",
            Self::Passed => {
                "a hostname is imported only with a number beyond the counter of its prefix: a lower one is never given out any more"
            }
            Self::Taken => "every one of these hostnames is somebody else's already",
        })
    }
}

/// A value as the text of its JSON. Vault and OpenBao refuse a request with more than a thousand or so
/// strings in it ("high complexity"), which some fifty entries have; a text is one string.
pub(super) mod json_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    pub(in crate::documents) fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(value).map_err(ser::Error::custom)?)
    }

    pub(in crate::documents) fn deserialize<'de, T: de::DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_of_an_unknown_format_is_refused() {
        let refused = serde_json::from_value::<CounterDocument>(json!({ "format": 3, "value": 7 }));
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("format 3 is not known here")
        );
    }

    #[test]
    fn a_document_that_somebody_wrote_by_hand_counts_no_less_than_nothing() {
        let mut counter = CounterDocument {
            value: 4,
            ..CounterDocument::default()
        };
        counter.passed.extend([(1, 4), (2, 3)]);
        counter.shapes.insert(0, Shape::default());
        assert_eq!(counter.given(), 0);
    }

    #[test]
    fn a_counter_whose_hostnames_have_forms_is_of_a_format_that_older_versions_refuse() {
        let mut counter = CounterDocument {
            value: 4,
            ..CounterDocument::default()
        };
        let written = |counter: &CounterDocument| serde_json::to_value(counter).unwrap();
        assert_eq!(written(&counter)["format"], 1);
        assert!(written(&counter).get("shapes").is_none());
        let tens = Shape {
            step: NonZeroU64::new(10).unwrap(),
            ..Shape::default()
        };
        counter.pass_to(9);
        counter.form(10, &tens);
        counter.value = 30;
        let named: Vec<_> = counter.numbers_after(0).map(Counter::get).collect();
        assert_eq!(named, [1, 2, 3, 4, 10, 20, 30]);
        assert_eq!((counter.given(), counter.has_passed(15)), (7, true));
        assert_eq!(written(&counter)["format"], 2);
        assert_eq!(
            serde_json::from_value::<CounterDocument>(written(&counter)).unwrap(),
            counter
        );
    }

    #[test]
    fn numbers_that_were_passed_over_are_runs_and_no_names() {
        let mut counter = CounterDocument {
            value: 2,
            ..CounterDocument::default()
        };
        assert_eq!(counter.pass_to(2), 0);
        assert_eq!(counter.pass_to(5), 3);
        assert_eq!(counter.pass_to(9), 4);
        counter.value += 2;
        assert_eq!(counter.pass_to(20), 9);
        assert_eq!(counter.passed, BTreeMap::from([(3, 9), (12, 20)]));
        assert_eq!(counter.passed_numbers(), 16);
        counter.value += 1;
        let named: Vec<_> = counter.numbers_after(1).map(Counter::get).collect();
        assert_eq!(named, [2, 10, 11, 21]);
        for number in 1..=21 {
            assert_eq!(
                counter.has_passed(number),
                !named.contains(&number) && number != 1
            );
        }
    }

    #[test]
    fn a_counter_survives_its_json() {
        let pending = json!([{
            "owner": { "key": "ab" }, "body_hash": "cd", "numbers": [3], "gen": 1,
            "lock": { "fencing_token": "7", "token_epoch": "e" },
            "facts": { "request_id": "r", "created_at": "2026-01-02T03:04:05.678Z", "instance": "i" },
        }]);
        let skipped = json!({ "2": { "why": "taken", "owner": { "request": "x" }, "next": 3 } });
        let parse = |text: &serde_json::Value| {
            serde_json::from_str::<serde_json::Value>(text.as_str().unwrap()).unwrap()
        };
        let document = json!({
            "format": 1, "value": 3, "fence": { "fencing_token": "9007199254740993", "token_epoch": "e" },
            "pending": pending.to_string(), "skipped": skipped.to_string(),
        });
        let counter: CounterDocument = serde_json::from_value(document.clone()).unwrap();
        let written = serde_json::to_value(&counter).unwrap();
        assert_eq!(parse(&written["pending"]), pending);
        assert_eq!(parse(&written["skipped"]), skipped);
        assert_eq!(counter.fence.unwrap().token, 9_007_199_254_740_993);
    }
}
