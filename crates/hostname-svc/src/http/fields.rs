//! A body read field by field, so that a refusal tells everything that is wrong with it at once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use service_kit::{
    query::{self, Query, shortened},
    text::{PLAIN, is_plain},
};

use super::field::NamedField;
use crate::{
    allocator::Remarks,
    hostname::{Application, Counter, Environment, InvalidField, Prefix, Role},
};

const REQUESTED_BY_MAX: usize = 256;
const REASON_MAX: usize = 1024;
const LABELS_MAX: usize = 16;
const LABEL_NAME_MAX: usize = 63;
const LABEL_VALUE_MAX: usize = 256;

/// The fields of a body that were not looked at yet, and what was wrong with the others.
pub(super) struct Fields {
    body: Map<String, Value>,
    wrong: Vec<NamedField>,
    known: Vec<&'static str>,
}

impl Fields {
    pub(super) fn of(body: Map<String, Value>) -> Self {
        Self {
            body,
            wrong: Vec::new(),
            known: Vec::new(),
        }
    }

    /// The parameters of a query, with those that are `numbers` read as such.
    pub(super) fn of_query(query: Query, numbers: &[&str]) -> Self {
        let value = |(name, text): (String, String)| {
            let number = query::number(&text).filter(|_| numbers.contains(&&*name));
            (name, number.map_or(Value::String(text), Value::from))
        };
        Self::of(query.0.into_iter().map(value).collect())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.body.contains_key(name)
    }

    pub(super) fn refuse(&mut self, field: &str, allowed: impl Into<String>) {
        self.wrong.push((field.to_owned(), allowed.into()));
    }

    /// The three parts of a prefix.
    pub(super) fn prefix(&mut self) -> Option<Prefix> {
        let application: Option<Application> = self.part("application");
        let role: Option<Role> = self.part("role");
        let environment: Option<Environment> = self.part("environment");
        match Prefix::new(application?, role?, environment?) {
            Ok(prefix) => Some(prefix),
            Err(field) => {
                self.refuse(field.field, field.allowed);
                None
            }
        }
    }

    /// What a caller may say about his hostnames.
    pub(super) fn remarks(&mut self) -> Remarks {
        Remarks {
            requested_by: self.text("requested_by", REQUESTED_BY_MAX),
            reason: self.reason(),
            labels: self.labels(),
        }
    }

    fn reason(&mut self) -> Option<String> {
        self.text("reason", REASON_MAX)
    }

    /// What must be said about a retirement.
    pub(super) fn reasons(&mut self) -> (Option<String>, Option<String>) {
        if !self.has("reason") {
            self.refuse("reason", "is missing");
        }
        (self.reason(), self.text("requested_by", REQUESTED_BY_MAX))
    }

    /// A number that must be there.
    pub(super) fn number(&mut self, name: &'static str, max: u64) -> Option<u64> {
        match self.take(name) {
            None => self.refuse(name, "is missing"),
            Some(value) => match value.as_u64() {
                Some(number @ 1..) if number <= max => return Some(number),
                _ => self.refuse(name, format!("must be a whole number from 1 to {max}")),
            },
        }
        None
    }

    /// Different numbers, at least one and at most so many of them, in rising order.
    pub(super) fn numbers(&mut self, name: &'static str, most: usize) -> Option<Vec<Counter>> {
        let rule = || format!("must be 1 to {most} different numbers from 1 up");
        let Some(value) = self.take(name) else {
            self.refuse(name, "is missing");
            return None;
        };
        let numbers = value.as_array().and_then(|values| {
            let number = |value: &Value| value.as_u64().and_then(Counter::new);
            values.iter().map(number).collect::<Option<Vec<_>>>()
        });
        match numbers {
            Some(mut numbers) if (1..=most).contains(&numbers.len()) => {
                let given = numbers.len();
                numbers.sort_unstable();
                numbers.dedup();
                if numbers.len() == given {
                    return Some(numbers);
                }
                self.refuse(name, rule());
            }
            _ => self.refuse(name, rule()),
        }
        None
    }

    /// A switch, off when it is left out.
    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        match self.take(name) {
            None => false,
            Some(Value::Bool(on)) => on,
            Some(_) => {
                self.refuse(name, "must be true or false");
                false
            }
        }
    }

    /// What was read, unless something is wrong with it, or a field is left that nobody knows.
    pub(super) fn finish<T>(mut self, read: Option<T>) -> Result<T, Vec<NamedField>> {
        let known = format!("is not known; the fields are {}", self.known.join(", "));
        for (name, _) in std::mem::take(&mut self.body) {
            self.refuse(&shortened(&name), known.as_str());
        }
        match read {
            Some(read) if self.wrong.is_empty() => Ok(read),
            _ => Err(self.wrong),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.body.remove(name)
    }

    /// A part that must be there.
    fn part<T: TryFrom<String, Error = InvalidField>>(&mut self, name: &'static str) -> Option<T> {
        match self.take(name) {
            None => self.refuse(name, "is missing"),
            Some(Value::String(text)) => match T::try_from(text) {
                Ok(part) => return Some(part),
                Err(field) => self.refuse(name, field.allowed),
            },
            Some(_) => self.refuse(name, "must be a string"),
        }
        None
    }

    /// A text that may be left out.
    fn text(&mut self, name: &'static str, max: usize) -> Option<String> {
        match self.take(name)? {
            Value::String(text) if is_text(&text, max) => return Some(text),
            Value::String(_) => self.refuse(name, text_rule(max)),
            _ => self.refuse(name, "must be a string"),
        }
        None
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        let labels = match self.take("labels") {
            None => return BTreeMap::new(),
            Some(Value::Object(labels)) if labels.len() <= LABELS_MAX => labels,
            Some(_) => {
                self.refuse(
                    "labels",
                    format!("must be an object of at most {LABELS_MAX} strings"),
                );
                return BTreeMap::new();
            }
        };
        let mut kept = BTreeMap::new();
        for (name, value) in labels {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
            if name.is_empty() || name.len() > LABEL_NAME_MAX || !name.chars().all(legal) {
                let rule = format!(
                    "the name must be 1 to {LABEL_NAME_MAX} of A-Z, a-z, 0-9, '.', '_', '-', '/'"
                );
                self.refuse(&format!("labels.{}", shortened(&name)), rule);
                continue;
            }
            match value {
                Value::String(value) if is_text(&value, LABEL_VALUE_MAX) => {
                    kept.insert(name, value);
                }
                _ => self.refuse(&format!("labels.{name}"), text_rule(LABEL_VALUE_MAX)),
            }
        }
        kept
    }
}

fn is_text(text: &str, max: usize) -> bool {
    text.chars().count() <= max && is_plain(text)
}

fn text_rule(max: usize) -> String {
    format!("must be a string of 1 to {max} characters, {PLAIN}")
}
