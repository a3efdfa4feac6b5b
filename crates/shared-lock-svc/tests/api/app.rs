//! The service under test, with a verb for each of its calls.

use std::{sync::LazyLock, time::Duration};

use reqwest::{Client, RequestBuilder, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use testbed::{Contract, Etcd, Exchange, Reply, RunningService, Service, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// One process of the service. It ends when this is dropped.
pub(crate) struct TestApp {
    pub(crate) service: RunningService,
    client: Client,
}

/// An answer of `/v1`.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// An answer, byte for byte.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl TestApp {
    /// On the store in memory.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// On the store in memory, with more settings; `name` is without the prefix.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::of(Self::service(settings).start().await.unwrap())
    }

    /// On the store in memory, and on an etcd of its own: the wire is the same on either.
    pub(crate) async fn on_each_store(check: impl AsyncFn(&Self)) {
        check(&Self::start().await).await;
        let (_etcd, app) = Self::on_etcd(&[]).await;
        check(&app).await;
    }

    /// On an etcd of its own.
    pub(crate) async fn on_etcd(settings: &[(&str, &str)]) -> (Etcd, Self) {
        let etcd = Etcd::start().await.unwrap();
        let store = [
            ("STORAGE_TYPE", "etcd"),
            ("ETCD_ADDR_LIST", etcd.endpoint()),
        ];
        let app = Self::with(&[&store[..], settings].concat()).await;
        (etcd, app)
    }

    /// The same, not yet started.
    pub(crate) fn service(settings: &[(&str, &str)]) -> Service {
        let memory = Service::new("shared-lock-svc").env("SHARED_LOCK_STORAGE_TYPE", "memory");
        settings.iter().fold(memory, |service, (name, value)| {
            service.env(&format!("SHARED_LOCK_{name}"), *value)
        })
    }

    pub(crate) fn of(service: RunningService) -> Self {
        // A connection of its own for each call: a dropped call closes it.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { service, client }
    }

    pub(crate) async fn acquire(&self, key: &str, body: Value) -> Answer {
        self.post(&format!("/v1/locks/{key}/acquire"), body).await
    }

    /// Takes a free lock for a minute, and gives the answer's body.
    pub(crate) async fn holds(&self, key: &str, holder: &str) -> Value {
        let answer = self
            .acquire(key, json!({ "holder": holder, "ttl_ms": 60_000 }))
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    pub(crate) async fn keep_alive(&self, key: &str, body: Value) -> Answer {
        self.post(&format!("/v1/locks/{key}/keepalive"), body).await
    }

    pub(crate) async fn release(&self, key: &str, body: Value) -> Answer {
        self.post(&format!("/v1/locks/{key}/release"), body).await
    }

    /// Gives back what an acquire answered.
    pub(crate) async fn gives_back(&self, key: &str, acquired: &Value) {
        let tenure = json!({
            "lease_id": acquired["lease_id"],
            "fencing_token": acquired["fencing_token"],
        });
        let answer = self.release(key, tenure).await;
        assert_eq!(answer.body, json!({ "released": true }), "{answer:?}");
    }

    pub(crate) async fn inspect(&self, key: &str) -> Value {
        let answer = self.get_json(&format!("/v1/locks/{key}")).await;
        assert_eq!(answer.status, 200);
        answer.body
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.service.url());
        self.client.get(url).send().await.unwrap()
    }

    pub(crate) async fn get_json(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.service.url());
        self.send(self.client.get(url)).await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.service.url());
        self.send(self.client.delete(url)).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_bytes(path, "application/json", body.to_string())
            .await
    }

    /// A call that a stopped replica may leave without an answer: a connection that was accepted
    /// before the stop and read only after it has run out of time, with nothing begun.
    pub(crate) async fn post_if_heard(&self, path: &str, body: Value) -> Option<Answer> {
        let url = format!("{}{path}", self.service.url());
        let answer = self.send(self.client.post(url).json(&body)).await.ok()?;
        match answer.status {
            StatusCode::REQUEST_TIMEOUT => None,
            _ => Some(answer),
        }
    }

    /// Sends a call; its answer is one that the OpenAPI document tells.
    async fn send(&self, call: RequestBuilder) -> reqwest::Result<Answer> {
        let Reply {
            status,
            headers,
            body,
        } = contract().send(&self.client, call).await?;
        // What is refused before it is a request has no body.
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).unwrap(),
        };
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// A `POST` without a body.
    pub(crate) async fn post_empty(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.service.url());
        self.send(self.client.post(url)).await.unwrap()
    }

    pub(crate) async fn post_bytes(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let call = self
            .client
            .post(format!("{}{path}", self.service.url()))
            .header("content-type", content_type)
            .body(body);
        self.send(call).await.unwrap()
    }

    pub(crate) async fn get_text(&self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    /// Waits until as many stand in the queue of `key`.
    pub(crate) async fn queue_is(&self, key: &str, length: usize, within: Duration) {
        eventually("the queue is as long as wanted", within, async || {
            let view = self.inspect(key).await;
            match view["waiters"].as_array().map(Vec::len) {
                Some(found) if found == length => Ok(()),
                found => Err(format!("{found:?} wait")),
            }
        })
        .await
        .unwrap();
    }

    /// Sends a request as it is written and reads the answer to the end of the connection.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> Raw {
        let mut connection = self.connect().await;
        connection.write_all(request.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(10), connection.read_to_end(&mut answer))
            .await
            .expect("the connection is closed after the answer")
            .unwrap();
        Raw::parse(&answer)
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let address = self.service.url().trim_start_matches("http://");
        TcpStream::connect(address).await.unwrap()
    }

    /// A call of the tentens-tech/shared-lock wire.
    pub(crate) async fn call(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
    ) -> Raw {
        let body = body.as_ref();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        let answer = self.raw([head.as_bytes(), body].concat()).await;
        let exchange = Exchange {
            method,
            path: target.split('?').next().unwrap_or_default(),
            // It takes far more than it asks for.
            asked: None,
            status: answer.status,
            content_type: answer.header("content-type"),
            body: answer.body.as_bytes(),
        };
        contract().check(&exchange).unwrap();
        answer
    }

    pub(crate) async fn lease(&self, headers: &str, body: impl AsRef<[u8]>) -> Raw {
        self.call("POST", "/lease", headers, body).await
    }

    pub(crate) async fn prolong(&self, body: impl AsRef<[u8]>) -> Raw {
        self.call("POST", "/keepalive", "", body).await
    }
}

impl Answer {
    /// The fields that a refusal names.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array();
        let fields = errors.into_iter().flatten();
        fields.filter_map(|error| error["field"].as_str()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Raw {
    fn parse(answer: &[u8]) -> Self {
        let text = String::from_utf8_lossy(answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self {
            status: status.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: lines.map(header).collect(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What the OpenAPI document tells.
fn contract() -> &'static Contract {
    static CONTRACT: LazyLock<Contract> =
        LazyLock::new(|| Contract::of("shared-lock-svc").unwrap());
    &CONTRACT
}
