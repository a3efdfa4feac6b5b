//! The OpenAPI document of a service, as a judge of what the service answers.

use std::{collections::HashMap, fmt, process::Command};

use anyhow::{Context, Result, anyhow, bail, ensure};
use boon::{Compiler, SchemaIndex, Schemas};
use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Map, Value, json};

use crate::build;

/// What a service promises of its API.
pub struct Contract {
    document: Value,
    schemas: Schemas,
    /// Those of bodies, by their places.
    indices: HashMap<String, SchemaIndex>,
}

/// A call and its answer.
pub struct Exchange<'a> {
    /// Of the call.
    pub method: &'a str,
    /// Of the call, as it was sent, without a query.
    pub path: &'a str,
    /// The body of the call, if it was JSON.
    pub asked: Option<&'a [u8]>,
    /// Of the answer.
    pub status: u16,
    /// Of the answer.
    pub content_type: Option<&'a str>,
    /// The body of the answer.
    pub body: &'a [u8],
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl fmt::Display for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        let Self {
            method,
            path,
            status,
            ..
        } = self;
        let asked = text(self.asked.unwrap_or_default());
        write!(
            f,
            "{method} {path} {asked}: {status} {:?} {}",
            self.content_type,
            text(self.body)
        )
    }
}

const URL: &str = "http://contract/openapi.json";

impl Contract {
    /// What the binary of `service` prints of its API. Each example in it is as its schema says.
    ///
    /// # Errors
    /// It does not compile, prints no such document, or an example is wrong.
    pub fn of(service: &str) -> Result<Self> {
        let binary = build(service)?;
        let printed = Command::new(binary).arg("openapi").output()?;
        ensure!(printed.status.success(), "{printed:?}");
        Self::new(serde_json::from_slice(&printed.stdout)?)
    }

    fn new(document: Value) -> Result<Self> {
        let mut contract = Self {
            document,
            schemas: Schemas::new(),
            indices: HashMap::new(),
        };
        let mut closed = contract.document.clone();
        close(&mut closed);
        let mut compiler = Compiler::new();
        compiler
            .add_resource(URL, closed)
            .map_err(|err| anyhow!("{err:#}"))?;
        let mut bodies = Vec::new();
        find_bodies(&contract.document, "", &mut bodies);
        for (place, example) in bodies {
            let url = format!("{URL}#{}", place.replace('{', "%7B").replace('}', "%7D"));
            let index = compiler
                .compile(&url, &mut contract.schemas)
                .map_err(|err| anyhow!("{place}: {err:#}"))?;
            contract.indices.insert(place.clone(), index);
            if let Some(example) = example {
                contract.is_valid(&place, &example).context("an example")?;
            }
        }
        Ok(contract)
    }

    /// Makes a call and checks its answer.
    ///
    /// # Errors
    /// There is no answer, or none to its end.
    ///
    /// # Panics
    /// The answer is not as the document tells.
    pub async fn send(&self, client: &Client, call: RequestBuilder) -> reqwest::Result<Reply> {
        let call = call.build()?;
        let (method, path) = (call.method().clone(), call.url().path().to_owned());
        let form = call.headers().get("content-type");
        let is_json = form.is_some_and(|form| form.as_bytes().starts_with(b"application/json"));
        let asked = call.body().and_then(|body| body.as_bytes());
        let asked = asked.filter(|_| is_json).map(<[u8]>::to_vec);
        let answer = client.execute(call).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await?.to_vec();
        let content_type = headers.get("content-type");
        let exchange = Exchange {
            method: method.as_str(),
            path: &path,
            asked: asked.as_deref(),
            status: status.as_u16(),
            content_type: content_type.and_then(|value| value.to_str().ok()),
            body: &body,
        };
        if let Err(err) = self.check(&exchange) {
            panic!("{err:#}");
        }
        Ok(Reply {
            status,
            headers,
            body,
        })
    }

    /// Whether an answer is one that the document tells, member by member, and whether what was taken
    /// is something that it lets callers send.
    ///
    /// # Errors
    /// Says what is otherwise.
    pub fn check(&self, exchange: &Exchange<'_>) -> Result<()> {
        self.judge(exchange)
            .with_context(|| format!("the OpenAPI document does not tell of {exchange}"))
    }

    fn judge(&self, exchange: &Exchange<'_>) -> Result<()> {
        let Some(path) = self.path_of(exchange.path) else {
            ensure!(exchange.status >= 300, "no such path");
            return Ok(());
        };
        let method = exchange.method.to_ascii_lowercase();
        let operation = pointer(&["paths", &path, &method]);
        let Some(told) = self.document.pointer(&operation) else {
            return Ok(());
        };
        // Refused before there was a request.
        if exchange.body.is_empty() && matches!(exchange.status, 400 | 408 | 431) {
            return Ok(());
        }
        let status = exchange.status.to_string();
        let answer = told["responses"]
            .get(&status)
            .with_context(|| format!("no status {status}"))?;
        let place = format!("{operation}/responses/{status}/content");
        self.judge_form(&place, answer["content"].as_object(), exchange)?;
        let taken = format!("{operation}/requestBody/content/application~1json/schema");
        match exchange.asked {
            Some(asked) if exchange.status < 300 && self.indices.contains_key(&taken) => {
                let asked = serde_json::from_slice(asked).context("the body is no JSON")?;
                self.is_valid(&taken, &asked).context("it was taken")
            }
            _ => Ok(()),
        }
    }

    fn judge_form(
        &self,
        place: &str,
        forms: Option<&Map<String, Value>>,
        exchange: &Exchange<'_>,
    ) -> Result<()> {
        let Some(forms) = forms else {
            ensure!(exchange.body.is_empty(), "it has no body");
            return Ok(());
        };
        let form = exchange.content_type.unwrap_or_default();
        let form = form.split(';').next().unwrap_or_default().trim();
        ensure!(forms.contains_key(form), "no form `{form}`");
        let is_json = form == "application/json" || form.ends_with("+json");
        if exchange.method == "HEAD" || !is_json {
            return Ok(());
        }
        let body = serde_json::from_slice(exchange.body).context("the answer is no JSON")?;
        self.is_valid(&format!("{place}{}/schema", pointer(&[form])), &body)
    }

    /// The path in the document that a path means: of several the one with most of its own words.
    fn path_of(&self, path: &str) -> Option<String> {
        let paths = self.document["paths"].as_object()?.keys();
        let fitting = paths.filter_map(|told| Some((own_words(told, path)?, told)));
        fitting.max().map(|(_, told)| told.clone())
    }

    fn is_valid(&self, place: &str, value: &Value) -> Result<()> {
        let schema = self
            .indices
            .get(place)
            .with_context(|| format!("no schema at {place}"))?;
        match self.schemas.validate(value, *schema) {
            Ok(()) => Ok(()),
            Err(err) => bail!("{place}: {err}"),
        }
    }
}

fn pointer(place: &[&str]) -> String {
    let escaped = place
        .iter()
        .map(|name| name.replace('~', "~0").replace('/', "~1"));
    escaped.fold(String::new(), |pointer, name| format!("{pointer}/{name}"))
}

/// How many segments of `path` are words of `told`; nothing when it is another path.
fn own_words(told: &str, path: &str) -> Option<usize> {
    let (told, path): (Vec<_>, Vec<_>) = (told.split('/').collect(), path.split('/').collect());
    if told.len() != path.len() {
        return None;
    }
    let mut words = 0;
    for (told, part) in told.iter().zip(path) {
        match *told == part {
            true => words += 1,
            false if told.starts_with('{') => (),
            false => return None,
        }
    }
    Some(words)
}

/// The places of the schemas of bodies, each with its example.
fn find_bodies(value: &Value, place: &str, found: &mut Vec<(String, Option<Value>)>) {
    for (name, member) in value.as_object().into_iter().flatten() {
        let below = format!("{place}{}", pointer(&[name]));
        match name.as_str() {
            "schema" => found.push((below, value.get("example").cloned())),
            _ => find_bodies(member, &below, found),
        }
    }
}

/// Lets no schema have members that it does not tell: callers must bear them, a service must tell them.
fn close(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match name.as_str() {
                    // What a body may have besides, it tells itself.
                    "requestBody" => continue,
                    "schema" | "items" => close_one(member),
                    "properties" => {
                        let properties = member.as_object_mut().into_iter().flatten();
                        properties.for_each(|(_, property)| close_one(property));
                    }
                    _ => (),
                }
                close(member);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => (),
    }
}

fn close_one(schema: &mut Value) {
    const SHAPES: [&str; 5] = ["$ref", "properties", "allOf", "oneOf", "anyOf"];
    if let Some(schema) = schema.as_object_mut()
        && SHAPES.iter().any(|shape| schema.contains_key(*shape))
        && !schema.contains_key("additionalProperties")
    {
        schema.insert("unevaluatedProperties".to_owned(), json!(false));
    }
}

#[cfg(test)]
mod tests;
