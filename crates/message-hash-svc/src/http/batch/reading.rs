//! A batch read entry by entry, so that a refusal tells everything that is wrong with it at once.

use actix_web::web::Bytes;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use service_kit::problem::{INVALID, Problem};
use service_kit::query::shortened;

use crate::digest::Digest;
use crate::http::Rules;
use crate::http::messages::expiry;
use crate::http::refusal::Refusal;
use crate::message::{Expiry, Message};

/// Entries of one batch, of all kinds together.
const MOST_ENTRIES: usize = 1000;

/// What a refusal tells at most: a body of megabytes may be wrong in every byte.
const MOST_TOLD: usize = 100;

const LISTS: [&str; 3] = ["put", "get", "exists"];
const OF_A_PUT: [&str; 4] = ["message", "message_base64", "digest", "ttl_ms"];
const DIGEST_RULE: &str = "expected 64 lower-case hexadecimal digits";

/// What is to be done: first the puts, by one commit, then the rest.
pub(super) struct Batch {
    pub(super) put: Vec<Message>,
    pub(super) get: Vec<Digest>,
    pub(super) exists: Vec<Digest>,
}

/// Reads a batch.
///
/// # Errors
///
/// Names the fields that are wrong, each with its place: all, or the first hundred.
pub(super) fn parse(mut body: Map<String, Value>, rules: &Rules) -> Result<Batch, Problem> {
    let mut reader = Reader {
        rules,
        wrong: Vec::new(),
        mismatch: None,
    };
    let [put, get, exists] = LISTS.map(|name| reader.list(&mut body, name));
    let entries = put.len() + get.len() + exists.len();
    if entries > MOST_ENTRIES {
        let rule = format!("expected up to {MOST_ENTRIES} entries, found {entries}");
        return Err(Problem::invalid("body", rule));
    }
    let batch = Batch {
        put: placed("put", put)
            .filter_map(|(place, entry)| reader.message(&place, entry))
            .collect(),
        get: reader.digests("get", get),
        exists: reader.digests("exists", exists),
    };
    reader.refuse_unknown("", body, &LISTS);
    reader.finish(batch)
}

struct Reader<'a> {
    rules: &'a Rules,
    /// Fields by their places, and what is allowed.
    wrong: Vec<(String, String)>,
    /// The first digest that was promised of another message.
    mismatch: Option<(String, Refusal)>,
}

impl Reader<'_> {
    fn list(&mut self, body: &mut Map<String, Value>, name: &str) -> Vec<Value> {
        match body.remove(name) {
            None => Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                self.refuse(name, "expected a list");
                Vec::new()
            }
        }
    }

    fn digests(&mut self, name: &str, entries: Vec<Value>) -> Vec<Digest> {
        placed(name, entries)
            .filter_map(|(place, entry)| self.digest(&place, &entry))
            .collect()
    }

    fn digest(&mut self, place: &str, value: &Value) -> Option<Digest> {
        let digest = value.as_str().and_then(|text| text.parse().ok());
        if digest.is_none() {
            self.refuse(place, DIGEST_RULE);
        }
        digest
    }

    /// A message, as text or as bytes, and the digest that it is expected to have.
    fn message(&mut self, place: &str, entry: Value) -> Option<Message> {
        let Value::Object(mut entry) = entry else {
            self.refuse(place, "expected an object");
            return None;
        };
        let [text, base64, wanted, ttl_ms] = OF_A_PUT.map(|name| entry.remove(name));
        let body = self.body(place, text, base64);
        let at = format!("{place}.digest");
        let wanted = wanted.map(|wanted| self.digest(&at, &wanted));
        let expiry = self.expiry(&format!("{place}.ttl_ms"), ttl_ms);
        self.refuse_unknown(&format!("{place}."), entry, &OF_A_PUT);
        let body = body?;
        let digest = Digest::of(&body);
        if let Some(Some(wanted)) = wanted.filter(|wanted| *wanted != Some(digest)) {
            let mismatch = Refusal::Mismatch {
                found: digest.to_string(),
                wanted: wanted.to_string(),
            };
            self.mismatch.get_or_insert((at, mismatch));
        }
        Some(Message {
            digest,
            body,
            expiry: expiry?,
        })
    }

    fn body(&mut self, place: &str, text: Option<Value>, base64: Option<Value>) -> Option<Bytes> {
        let (name, rule, body) = match (text, base64) {
            (Some(Value::String(text)), None) => return Some(text.into()),
            (Some(_), None) => ("message", "expected a string", None),
            (None, Some(base64)) => {
                let bytes = base64.as_str().map(|text| BASE64_STANDARD.decode(text));
                let bytes = bytes.and_then(Result::ok).map(Bytes::from);
                ("message_base64", "expected base64 with padding", bytes)
            }
            _ => {
                let rule = "expected either `message` or `message_base64`";
                ("message", rule, None)
            }
        };
        if body.is_none() {
            self.refuse(&format!("{place}.{name}"), rule);
        }
        body
    }

    fn expiry(&mut self, place: &str, ttl_ms: Option<Value>) -> Option<Expiry> {
        let Some(ttl_ms) = ttl_ms else {
            return Some(self.rules.default_expiry());
        };
        match expiry(ttl_ms.as_u64(), self.rules) {
            Ok(expiry) => Some(expiry),
            Err(allowed) => {
                self.refuse(place, &allowed);
                None
            }
        }
    }

    fn refuse_unknown(&mut self, place: &str, rest: Map<String, Value>, known: &[&str]) {
        let rule = format!("is not known; the fields are {}", known.join(", "));
        for (name, _) in rest {
            self.refuse(&format!("{place}{}", shortened(&name)), &rule);
        }
    }

    fn refuse(&mut self, field: &str, allowed: &str) {
        if self.wrong.len() < MOST_TOLD {
            self.wrong.push((field.to_owned(), allowed.to_owned()));
        }
    }

    fn finish(self, batch: Batch) -> Result<Batch, Problem> {
        if self.wrong.is_empty() {
            let Some((field, mismatch)) = self.mismatch else {
                return Ok(batch);
            };
            let detail = mismatch.to_string();
            return Err(Problem::from(mismatch).field(&field, detail));
        }
        let detail: Vec<_> = (self.wrong.iter())
            .map(|(field, allowed)| format!("{field}: {allowed}"))
            .collect();
        let problem = Problem::new(&INVALID, detail.join("; "));
        let named =
            |problem: Problem, (field, allowed): &(String, String)| problem.field(field, allowed);
        Err(self.wrong.iter().fold(problem, named))
    }
}

/// The entries of a list, each with its place.
fn placed(name: &str, entries: Vec<Value>) -> impl Iterator<Item = (String, Value)> {
    let places = entries.into_iter().enumerate();
    places.map(move |(place, entry)| (format!("{name}[{place}]"), entry))
}
