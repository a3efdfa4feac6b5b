//! The service under test, with verbs.

use std::{sync::LazyLock, time::Duration};

use lock_client::{AcquireOptions, ClientOptions, LockClient, LockGuard};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testbed::{Contract, Reply, RunningService, Service};
use tokio::sync::OnceCell;

/// A running hostname-svc.
pub(crate) struct TestApp {
    pub(crate) service: RunningService,
    pub(crate) client: Client,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

/// A lock service in memory, shared by the tests that do nothing to it.
pub(crate) async fn lock_service() -> &'static RunningService {
    static LOCKS: OnceCell<RunningService> = OnceCell::const_new();
    LOCKS
        .get_or_init(|| async {
            let locks = Service::new("shared-lock-svc").env("SHARED_LOCK_STORAGE_TYPE", "memory");
            locks.start().await.unwrap()
        })
        .await
}

/// Time that a call may take: the machine may be busy with other things.
pub(crate) const PATIENCE: &str = "60s";

/// hostname-svc on a store of its own, with the lock service at `locks`.
pub(crate) fn embedded(locks: &str) -> Service {
    Service::new("hostname-svc")
        .env("HOSTNAME_SVC_STORE", "embedded")
        .env("HOSTNAME_SVC_LOCK_URL", locks)
        .env("HOSTNAME_SVC_BUDGET", PATIENCE)
        // Each test has its own counters, so each has its own locks.
        .env("HOSTNAME_SVC_LOCK_KEY_PREFIX", unique("hostname"))
}

/// A name that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Takes the lock of the prefix that most tests use, under keys that begin with `keys`.
pub(crate) async fn keep_lock(locks: &RunningService, keys: &str) -> LockGuard {
    let client = LockClient::new(ClientOptions::new([locks.url()], "somebody")).unwrap();
    let key = format!("{keys}/splunk/web/dev");
    let guard = client.acquire(&key, AcquireOptions::default()).await;
    guard.unwrap()
}

impl TestApp {
    /// One on an embedded store and the shared lock service.
    pub(crate) async fn start() -> Self {
        Self::with(embedded(lock_service().await.url())).await
    }

    pub(crate) async fn with(service: Service) -> Self {
        Self::of(service.start().await.unwrap())
    }

    pub(crate) fn of(service: RunningService) -> Self {
        Self {
            service,
            client: Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.service.url())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.answer(self.client.get(self.url(path))).await
    }

    pub(crate) async fn allocate(&self, body: &Value) -> Answer {
        let request = self.client.post(self.url("/v1/hostnames")).json(body);
        self.answer(request).await
    }

    pub(crate) async fn allocate_with_key(&self, body: &Value, key: &str) -> Answer {
        let request = self.client.post(self.url("/v1/hostnames")).json(body);
        let request = request.header("Idempotency-Key", key);
        self.answer(request).await
    }

    /// Makes a call; its answer is one that the OpenAPI document tells.
    pub(crate) async fn answer(&self, call: RequestBuilder) -> Answer {
        Answer::of(contract().send(&self.client, call).await.unwrap())
    }

    /// Sends JSON to a path, with an idempotency key or without.
    pub(crate) async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Answer {
        let request = self.client.request(method, self.url(path)).json(body);
        let request = match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        };
        self.answer(request).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> Answer {
        self.send(reqwest::Method::POST, path, body, key).await
    }

    /// Sends a body as it stands.
    pub(crate) async fn post_raw(
        &self,
        content_type: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.client.post(self.url("/v1/hostnames")).body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        self.answer(request).await
    }

    /// What `/metrics` shows.
    pub(crate) async fn metrics(&self) -> String {
        let metrics = self.client.get(self.url("/metrics")).send().await.unwrap();
        metrics.text().await.unwrap()
    }

    /// Returns when `/metrics` shows this line.
    pub(crate) async fn shows(&self, line: &str) {
        let shown = testbed::eventually(line, Duration::from_secs(60), async || {
            let text = self.metrics().await;
            let found = text.lines().any(|it| it == line);
            if found { Ok(()) } else { Err(text) }
        });
        shown.await.unwrap();
    }

    /// Returns when the service knows that a dependency answers.
    pub(crate) async fn reaches(&self, dependency: &str) {
        let up = format!("hostname_dependency_up{{dependency=\"{dependency}\"}} 1");
        self.shows(&up).await;
    }

    /// Returns when so many callers wait for a number.
    pub(crate) async fn is_waiting(&self, callers: usize) {
        self.shows(&format!("hostname_queue_requests {callers}"))
            .await;
    }

    /// The hostnames that a query lists on its first page.
    pub(crate) async fn listed(&self, query: &str) -> Vec<String> {
        let page = self.get(&format!("/v1/hostnames?{query}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let hostnames = page.body["hostnames"].as_array().unwrap();
        hostnames
            .iter()
            .map(|it| it["hostname"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Answer {
    /// The answer to a call, unless the connection broke in the middle of it.
    pub(crate) async fn if_whole(client: &Client, call: RequestBuilder) -> Option<Self> {
        contract().send(client, call).await.ok().map(Self::of)
    }

    fn of(reply: Reply) -> Self {
        let Reply {
            status,
            headers,
            body,
        } = reply;
        Self {
            status,
            headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    /// The hostname that was given out.
    pub(crate) fn hostname(&self) -> &str {
        assert!(self.status.is_success(), "{self:?}");
        self.body["hostname"].as_str().unwrap()
    }

    pub(crate) fn counter(&self) -> u64 {
        assert!(self.status.is_success(), "{self:?}");
        self.body["counter"].as_u64().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    /// The names in a member of the answer.
    pub(crate) fn names(&self, member: &str) -> Vec<&str> {
        assert!(self.status.is_success(), "{self:?}");
        let hostnames = self.body[member].as_array().unwrap();
        hostnames
            .iter()
            .map(|it| it["hostname"].as_str().unwrap())
            .collect()
    }

    /// The fields that a 422 complains of.
    pub(crate) fn fields(&self) -> Vec<&str> {
        assert_eq!(self.status, 422, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let errors = self.body["errors"].as_array().unwrap();
        errors
            .iter()
            .map(|it| it["field"].as_str().unwrap())
            .collect()
    }

    /// Checks the code of a problem.
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), &self.body["code"]),
            (status, &json!(code)),
            "{self:?}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(self.body["type"], format!("/problems/{code}"));
        if matches!(status, 429 | 503) && self.body["retryable"] == true {
            assert!(self.header("retry-after").is_some(), "{self:?}");
        }
    }
}

pub(crate) fn wish(application: &str, role: &str, environment: &str) -> Value {
    json!({ "application": application, "role": role, "environment": environment })
}

/// What the OpenAPI document tells.
fn contract() -> &'static Contract {
    static CONTRACT: LazyLock<Contract> = LazyLock::new(|| Contract::of("hostname-svc").unwrap());
    &CONTRACT
}
