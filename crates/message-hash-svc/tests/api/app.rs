//! A running service and the verbs of its callers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use message_hash_svc::digest::Digest;
use reqwest::RequestBuilder;
use testbed::{Contract, RunningService, Scratch, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A service on a data directory that the test can look into.
pub(crate) struct App {
    pub(crate) service: RunningService,
    data: Scratch,
    client: reqwest::Client,
}

/// An answer, as far as the contract says anything about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

/// A whole answer, for what goes beyond the contract.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header, or an empty string.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let code = self.json()["code"].as_str().unwrap().to_owned();
        (self.status, code)
    }
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts it with some settings: the ends of their names, and their values.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let data = Scratch::new("message-hash").unwrap();
        let mut service = Service::new("message-hash-svc")
            .env("MESSAGE_HASH_DATA_DIR", data.path().to_str().unwrap());
        for (name, value) in settings {
            service = service.env(&format!("MESSAGE_HASH_{name}"), *value);
        }
        Self {
            service: service.start().await.unwrap(),
            data,
            client: reqwest::Client::new(),
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller {
            url: self.service.url().to_owned(),
            client: self.client.clone(),
        }
    }

    pub(crate) async fn post(&self, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.caller().post(content_type, body).await.unwrap()
    }

    /// Posts a message, which has to be kept.
    pub(crate) async fn keep(&self, message: &str) -> Digest {
        self.caller().keep(message).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.caller().get(path).await.unwrap()
    }

    /// Any call; headers as `name: value`.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        self.caller()
            .call(method, path, headers, body)
            .await
            .unwrap()
    }

    /// Sends these bytes and reads until the service hangs up.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        let mut connection = TcpStream::connect(self.address()).await.unwrap();
        connection.write_all(request).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.service
            .url()
            .strip_prefix("http://")
            .unwrap()
            .parse()
            .unwrap()
    }

    /// The value of a metric, or 0 while it has none.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics").await.body;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

/// Somebody who calls the service, perhaps while it dies.
#[derive(Clone)]
pub(crate) struct Caller {
    url: String,
    client: reqwest::Client,
}

impl Caller {
    pub(crate) fn of(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            client: reqwest::Client::new(),
        }
    }

    pub(crate) async fn post(
        &self,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> reqwest::Result<Answer> {
        let mut request = self
            .client
            .post(format!("{}/messages", self.url))
            .body(body.into());
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        self.send(request).await.map(answer)
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: impl Into<Vec<u8>>,
    ) -> reqwest::Result<Reply> {
        let method = method.parse().unwrap();
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method, url).body(body.into());
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let reply = self.send(request).await?;
        Ok(Reply {
            status: reply.status.as_u16(),
            headers: reply.headers,
            body: reply.body,
        })
    }

    /// Makes a call; its answer is one that the OpenAPI document tells.
    async fn send(&self, call: RequestBuilder) -> reqwest::Result<testbed::Reply> {
        static CONTRACT: LazyLock<Contract> =
            LazyLock::new(|| Contract::of("message-hash-svc").unwrap());
        CONTRACT.send(&self.client, call).await
    }

    /// Posts a message; `Ok` only when it was acknowledged.
    pub(crate) async fn keep(&self, message: &str) -> Result<Digest, String> {
        let body = serde_json::json!({ "message": message }).to_string();
        let answer = self.post("application/json", body).await;
        let answer = answer.map_err(|err| err.to_string())?;
        let digest = Digest::of(message.as_bytes());
        if answer.status == 200 && answer.body == format!(r#"{{"digest": "{digest}"}}"#) {
            return Ok(digest);
        }
        Err(format!("{answer:?}"))
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<Answer> {
        let call = self.client.get(format!("{}{path}", self.url));
        self.send(call).await.map(answer)
    }

    /// The message that the service gives back.
    pub(crate) async fn look_up(&self, digest: &Digest) -> reqwest::Result<Answer> {
        self.get(&format!("/messages/{digest}")).await
    }
}

fn answer(reply: testbed::Reply) -> Answer {
    let header = |name| Some(reply.headers.get(name)?.to_str().unwrap().to_owned());
    Answer {
        status: reply.status.as_u16(),
        content_type: header("content-type").unwrap_or_default(),
        retry_after: header("retry-after"),
        body: String::from_utf8(reply.body).unwrap(),
    }
}

/// The answer with a message, byte for byte.
pub(crate) fn message(message: &str) -> Answer {
    Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        retry_after: None,
        body: format!(r#"{{"message": {}}}"#, serde_json::json!(message)),
    }
}

/// The answer to a digest that names no message, byte for byte.
pub(crate) fn not_found() -> Answer {
    Answer {
        status: 404,
        content_type: "application/json".to_owned(),
        retry_after: None,
        body: r#"{"err_msg": "Message not found"}"#.to_owned(),
    }
}

/// So many letters, other ones for each seed, that compression halves at best.
pub(crate) fn noise(seed: usize, length: usize) -> String {
    let mut state = seed as u64;
    let letters = std::iter::repeat_with(|| {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from_digit((state >> 60) as u32, 16).unwrap()
    });
    letters.take(length).collect()
}
