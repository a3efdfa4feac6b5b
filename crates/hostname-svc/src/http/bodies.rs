//! What callers send and get.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    allocator::Wish,
    documents::{Fence, Moment, Record},
    hostname::{Application, Counter, Environment, Hostname, InvalidField, Prefix, Role},
    hostnames::{Deleted, Filter, Page, Position},
};

const REQUESTED_BY_MAX: usize = 256;
const REASON_MAX: usize = 1024;
const LABELS_MAX: usize = 16;
const LABEL_NAME_MAX: usize = 63;
const LABEL_VALUE_MAX: usize = 256;
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 500;

/// A hostname and what its record says.
#[derive(Debug, Serialize)]
pub(super) struct HostnameBody {
    hostname: Hostname,
    application: Application,
    role: Role,
    counter: Counter,
    environment: Environment,
    created_at: Moment,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    lock: Fence,
}

/// A page of hostnames.
#[derive(Debug, Serialize)]
pub(super) struct PageBody {
    hostnames: Vec<HostnameBody>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<DeletedBody>,
    /// What to send as `after` to go on; null at the end.
    next: Option<String>,
}

/// A hostname whose record was deleted by hand; without number and name, a prefix whose counter was.
#[derive(Debug, Serialize)]
struct DeletedBody {
    #[serde(flatten)]
    prefix: Prefix,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<Counter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<Hostname>,
}

impl From<Deleted> for DeletedBody {
    fn from(deleted: Deleted) -> Self {
        let Deleted { prefix, counter } = deleted;
        Self {
            hostname: counter.and_then(|counter| prefix.hostname(counter)),
            prefix,
            counter,
        }
    }
}

impl From<Record> for HostnameBody {
    fn from(record: Record) -> Self {
        Self {
            hostname: record.hostname,
            application: record.application,
            role: record.role,
            counter: record.counter,
            environment: record.environment,
            created_at: record.facts.created_at,
            request_id: record.facts.request_id,
            requested_by: record.facts.requested_by,
            reason: record.facts.reason,
            labels: record.facts.labels,
            lock: record.lock,
        }
    }
}

impl From<Page> for PageBody {
    fn from(page: Page) -> Self {
        Self {
            hostnames: page.records.into_iter().map(HostnameBody::from).collect(),
            deleted: page.deleted.into_iter().map(DeletedBody::from).collect(),
            next: page.next.map(|position| position.encode()),
        }
    }
}

/// A field that is not valid, whose name may be the caller's.
pub(super) type NamedField = (String, String);

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

/// The caller's own name of a field, not so long that the answer is about nothing else.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

/// The query of a listing.
#[derive(Debug)]
pub(super) struct ListQuery {
    pub(super) filter: Filter,
    pub(super) after: Option<Position>,
    pub(super) limit: usize,
}

impl ListQuery {
    pub(super) fn parse(pairs: Vec<(String, String)>) -> Result<Self, Vec<NamedField>> {
        let mut query = Self {
            filter: Filter::default(),
            after: None,
            limit: PAGE_DEFAULT,
        };
        let (mut after, mut wrong, mut seen) = (None, Vec::new(), Vec::new());
        for (name, value) in pairs {
            if seen.contains(&name) {
                wrong.push((shortened(&name), "must be there once at most".to_owned()));
                continue;
            }
            let parsed = match name.as_str() {
                "application" => value
                    .try_into()
                    .map(|it| query.filter.application = Some(it)),
                "role" => value.try_into().map(|it| query.filter.role = Some(it)),
                "environment" => value
                    .try_into()
                    .map(|it| query.filter.environment = Some(it)),
                "limit" => page_size(&value).map(|it| query.limit = it),
                "after" => {
                    after = Some(value);
                    Ok(())
                }
                _ => {
                    let known = "is not known; the parameters are application, role, environment, after, limit";
                    wrong.push((shortened(&name), known.to_owned()));
                    continue;
                }
            };
            wrong.extend(
                parsed
                    .err()
                    .map(|field| (field.field.to_owned(), field.allowed)),
            );
            seen.push(name);
        }
        query.check_order(&seen, &mut wrong);
        if let Some(after) = after {
            query.after = Position::decode(&after, &query.filter);
            if query.after.is_none() {
                let rule = "must be the `next` of an earlier answer to the same application, role and environment";
                wrong.push(("after".to_owned(), rule.to_owned()));
            }
        }
        if wrong.is_empty() {
            Ok(query)
        } else {
            Err(wrong)
        }
    }

    /// Hostnames are kept by application, then role, then environment.
    fn check_order(&self, seen: &[String], wrong: &mut Vec<NamedField>) {
        let has = |name: &str| seen.iter().any(|seen| seen == name);
        if has("role") && !has("application") {
            wrong.push((
                "role".to_owned(),
                "needs an application beside it".to_owned(),
            ));
        }
        if has("environment") && !has("role") {
            wrong.push((
                "environment".to_owned(),
                "needs a role beside it".to_owned(),
            ));
        }
    }
}

fn page_size(text: &str) -> Result<usize, InvalidField> {
    match text.parse() {
        Ok(size @ 1..=PAGE_MAX) => Ok(size),
        _ => Err(InvalidField::new(
            "limit",
            format!("must be a number from 1 to {PAGE_MAX}"),
        )),
    }
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

    #[test]
    fn a_query_names_what_it_does_not_know() {
        let pairs = [
            ("aplication", "x"),
            ("limit", "501"),
            ("environment", "dev"),
            ("after", "x"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let wrong = ListQuery::parse(pairs.into()).unwrap_err();
        let wrong: Vec<_> = wrong.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(wrong, ["aplication", "limit", "environment", "after"]);
    }
}
