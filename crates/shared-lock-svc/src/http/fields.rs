//! The fields of a call, read one by one, so that a refusal lists everything that is wrong with it.

use std::{collections::BTreeMap, num::NonZeroU32, ops::RangeInclusive, time::Duration};

use serde_json::{Map, Value};
use service_kit::{
    problem::{INVALID, Problem},
    query::{self, Query, shortened},
};

use crate::lease::{FencingToken, Holder, LeaseId, LockKey, Metadata, Note, Refused, RequestId};

/// Fields that were not looked at yet, and what was wrong with the others.
pub(super) struct Fields {
    values: Map<String, Value>,
    /// In a query there is nothing but text.
    numbers_are_text: bool,
    /// What stands before their names in a refusal: `locks[2].` within a list.
    place: String,
    known: Vec<&'static str>,
    wrong: Vec<Wrong>,
}

/// The name of a field, which may be the caller's own, and what is allowed.
struct Wrong(String, String);

impl Fields {
    pub(super) fn of_body(values: Map<String, Value>) -> Self {
        Self {
            values,
            numbers_are_text: false,
            place: String::new(),
            known: Vec::new(),
            wrong: Vec::new(),
        }
    }

    pub(super) fn of_query(query: Query) -> Self {
        let values = query.0.into_iter();
        Self {
            numbers_are_text: true,
            ..Self::of_body(values.map(|(name, value)| (name, value.into())).collect())
        }
    }

    pub(super) fn refuse(&mut self, field: &str, allowed: impl ToString) {
        let field = format!("{}{}", self.place, shortened(field));
        self.wrong.push(Wrong(field, allowed.to_string()));
    }

    /// Whether a field is there that was not read yet.
    pub(super) fn has(&self, field: &str) -> bool {
        self.values.contains_key(field)
    }

    /// Refuses a field that is about to be read and is not there.
    pub(super) fn demand(&mut self, field: &str) {
        if !self.has(field) {
            self.refuse(field, "is missing");
        }
    }

    /// A field that must be there.
    pub(super) fn required<T: Field>(&mut self, name: &'static str) -> Option<T> {
        self.demand(name);
        self.optional(name)
    }

    /// A field that may be left out. `null` is not leaving it out.
    pub(super) fn optional<T: Field>(&mut self, name: &'static str) -> Option<T> {
        self.read(name, T::read)
    }

    /// A whole number of milliseconds.
    pub(super) fn millis(
        &mut self,
        name: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let millis = |duration: &Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let range = millis(range.start())..=millis(range.end());
        self.number(name, range).map(Duration::from_millis)
    }

    pub(super) fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.numbers_are_text;
        self.read(name, |value| {
            let number = match &value {
                Value::String(digits) if text => query::number(digits),
                value => value.as_u64(),
            };
            number
                .filter(|number| range.contains(number))
                .ok_or_else(|| {
                    Refused(format!(
                        "must be a whole number from {} to {}",
                        range.start(),
                        range.end()
                    ))
                })
        })
    }

    pub(super) fn count(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<NonZeroU32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        let number = self.number(name, range)?;
        u32::try_from(number).ok().and_then(NonZeroU32::new)
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        self.read(name, |value| {
            let found = words.iter().find(|(word, _)| value == *word);
            found.map(|(_, meant)| *meant).ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                Refused(format!("must be one of {}", words.join(", ")))
            })
        })
    }

    /// An object of strings, within the limits of [`Metadata`].
    pub(super) fn metadata(&mut self, name: &'static str) -> Option<Metadata> {
        const ENTRIES: usize = 32;
        const BYTES: usize = 4096;
        let rule = format!(
            "must be an object of at most {ENTRIES} strings and {BYTES} bytes in all, without control characters"
        );
        let entries = self.read(name, |value| match value {
            Value::Object(entries) if entries.len() <= ENTRIES => Ok(entries),
            _ => Err(Refused(rule.clone())),
        })?;
        let mut metadata = BTreeMap::new();
        for (entry, value) in entries {
            match value {
                Value::String(value) => drop(metadata.insert(entry, value)),
                _ => self.refuse(&format!("{name}.{entry}"), "must be a string"),
            }
        }
        let bytes: usize = metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
        let mut text = metadata
            .iter()
            .flat_map(|(k, v): (&String, &String)| k.chars().chain(v.chars()));
        if bytes > BYTES || text.any(char::is_control) {
            self.refuse(name, rule);
        }
        Some(metadata)
    }

    /// A list of texts, each read as `T`.
    pub(super) fn list<T: Field>(
        &mut self,
        name: &'static str,
        length: RangeInclusive<usize>,
    ) -> Option<Vec<T>> {
        let values = self.array(name, length)?;
        let mut list = Vec::new();
        for (place, value) in values.into_iter().enumerate() {
            match T::read(value) {
                Ok(item) => list.push(item),
                Err(refused) => self.refuse(&format!("{name}[{place}]"), refused),
            }
        }
        Some(list)
    }

    /// A list of objects, each read by `read`.
    pub(super) fn objects<T>(
        &mut self,
        name: &'static str,
        length: RangeInclusive<usize>,
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let values = self.array(name, length)?;
        let mut list = Vec::new();
        for (place, value) in values.into_iter().enumerate() {
            let Value::Object(values) = value else {
                self.refuse(&format!("{name}[{place}]"), "must be an object");
                continue;
            };
            let mut fields = Self::of_body(values);
            fields.place = format!("{}{name}[{place}].", self.place);
            list.extend(read(&mut fields));
            self.wrong.extend(fields.all_wrong());
        }
        Some(list)
    }

    /// What the fields come to, or all that is wrong with them. `whole` gives nothing only where a
    /// field was refused.
    pub(super) fn finish<T>(self, whole: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        let wrong = self.all_wrong();
        match (&*wrong, whole()) {
            ([], Some(whole)) => Ok(whole),
            ([], None) => Err(Problem::invalid("body", "is incomplete")),
            ([Wrong(field, allowed)], _) => Err(Problem::invalid(field, allowed)),
            (wrong, _) => {
                let names: Vec<_> = wrong.iter().map(|Wrong(field, _)| field.as_str()).collect();
                let detail = format!("{} fields are not valid: {}", wrong.len(), names.join(", "));
                let problem = Problem::new(&INVALID, detail);
                Err(wrong
                    .iter()
                    .fold(problem, |problem, Wrong(field, allowed)| {
                        problem.field(field, allowed)
                    }))
            }
        }
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value) -> Result<T, Refused>,
    ) -> Option<T> {
        self.known.push(name);
        match read(self.values.remove(name)?) {
            Ok(value) => Some(value),
            Err(refused) => {
                self.refuse(name, refused);
                None
            }
        }
    }

    fn array(&mut self, name: &'static str, length: RangeInclusive<usize>) -> Option<Vec<Value>> {
        self.demand(name);
        self.read(name, |value| match value {
            Value::Array(values) if length.contains(&values.len()) => Ok(values),
            _ => Err(Refused(format!(
                "must be a list of {} to {}",
                length.start(),
                length.end()
            ))),
        })
    }

    /// What was wrong, and every field that is left: nobody knows it.
    fn all_wrong(mut self) -> Vec<Wrong> {
        let known = match &*self.known {
            [] => "is not known; there are no fields here".to_owned(),
            known => {
                let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
                format!("is not known; the fields are {}", names.join(", "))
            }
        };
        for name in std::mem::take(&mut self.values)
            .into_iter()
            .map(|(name, _)| name)
        {
            self.refuse(&name, &known);
        }
        self.wrong
    }
}

/// A value that a field may have.
pub(super) trait Field: Sized {
    /// The value, or what is allowed.
    fn read(value: Value) -> Result<Self, Refused>;
}

macro_rules! texts {
    ($($name:ty: $parse:expr),* $(,)?) => {$(
        impl Field for $name {
            fn read(value: Value) -> Result<Self, Refused> {
                match value {
                    Value::String(text) => $parse(text),
                    _ => Err(Refused("must be a string".into())),
                }
            }
        }
    )*};
}
texts! {
    LockKey: LockKey::parse,
    Holder: Holder::try_from,
    RequestId: RequestId::try_from,
    LeaseId: LeaseId::try_from,
    FencingToken: FencingToken::try_from,
    Note: Note::try_from,
    String: Ok,
}

#[cfg(test)]
mod tests;
