//! The body of `POST /v1/hostnames`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::field::{NamedField, shortened};
use crate::{
    allocator::Wish,
    hostname::{Application, Environment, InvalidField, Prefix, Role},
};

const REQUESTED_BY_MAX: usize = 256;
const REASON_MAX: usize = 1024;
const LABELS_MAX: usize = 16;
const LABEL_NAME_MAX: usize = 63;
const LABEL_VALUE_MAX: usize = 256;

/// Reads a request for a hostname, and tells everything that is wrong with it at once.
pub(super) fn parse_wish(body: Map<String, Value>) -> Result<Wish, Vec<NamedField>> {
    let mut fields = Fields {
        body,
        wrong: Vec::new(),
    };
    let application: Option<Application> = fields.part("application");
    let role: Option<Role> = fields.part("role");
    let environment: Option<Environment> = fields.part("environment");
    let requested_by = fields.text("requested_by", REQUESTED_BY_MAX);
    let reason = fields.text("reason", REASON_MAX);
    let labels = fields.labels();
    let mut wrong = fields.rest();
    if let (Some(application), Some(role), Some(environment)) = (application, role, environment) {
        match Prefix::new(application, role, environment) {
            Ok(prefix) if wrong.is_empty() => {
                return Ok(Wish {
                    prefix,
                    requested_by,
                    reason,
                    labels,
                });
            }
            Ok(_) => (),
            Err(field) => wrong.push((field.field.to_owned(), field.allowed)),
        }
    }
    Err(wrong)
}

/// The fields of a body that were not looked at yet, and what was wrong with the others.
struct Fields {
    body: Map<String, Value>,
    wrong: Vec<NamedField>,
}

impl Fields {
    fn refuse(&mut self, field: &str, allowed: impl Into<String>) {
        self.wrong.push((field.to_owned(), allowed.into()));
    }

    /// A field that must be there.
    fn part<T: TryFrom<String, Error = InvalidField>>(&mut self, name: &str) -> Option<T> {
        match self.body.remove(name) {
            None => self.refuse(name, "is missing"),
            Some(Value::String(text)) => match T::try_from(text) {
                Ok(part) => return Some(part),
                Err(field) => self.refuse(name, field.allowed),
            },
            Some(_) => self.refuse(name, "must be a string"),
        }
        None
    }

    /// A field that may be left out.
    fn text(&mut self, name: &str, max: usize) -> Option<String> {
        match self.body.remove(name)? {
            Value::String(text) if is_text(&text, max) => return Some(text),
            Value::String(_) => self.refuse(name, text_rule(max)),
            _ => self.refuse(name, "must be a string"),
        }
        None
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        let labels = match self.body.remove("labels") {
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
                    "names of labels must be 1 to {LABEL_NAME_MAX} of A-Z, a-z, 0-9, '.', '_', '-', '/'"
                );
                self.refuse("labels", rule);
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

    /// What was wrong, with every field that is left: nobody knows it.
    fn rest(self) -> Vec<NamedField> {
        const KNOWN: &str = "is not known; the fields are application, role, environment, requested_by, reason, labels";
        let unknown = self
            .body
            .into_iter()
            .map(|(name, _)| (shortened(&name), KNOWN.to_owned()));
        self.wrong.into_iter().chain(unknown).collect()
    }
}

fn is_text(text: &str, max: usize) -> bool {
    !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control)
}

fn text_rule(max: usize) -> String {
    format!("must be a string of 1 to {max} characters without control characters")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(body: Value) -> Vec<String> {
        let Value::Object(body) = body else {
            panic!("no object");
        };
        let wrong = parse_wish(body).unwrap_err();
        wrong.into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let body = json!({
            "application": 7, "environment": "Dev", "requested_by": "", "reason": "a\u{0}b",
            "labels": { "ok": "x", "no": 3, "n o": "x" }, "rolle": "web",
        });
        let fields = [
            "application",
            "role",
            "environment",
            "requested_by",
            "reason",
            "labels",
            "labels.no",
            "rolle",
        ];
        assert_eq!(wrong(body), fields);
    }

    #[test]
    fn parts_that_are_too_long_together_are_refused() {
        let body = json!({ "application": "a".repeat(60), "role": "bb", "environment": "c" });
        assert_eq!(wrong(body), ["application"]);
    }
}
