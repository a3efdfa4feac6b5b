//! One HTTP/1.1 connection that is kept: the same client for every side, and as little of it as will do,
//! since it shares the cores with what it measures.

use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A connection to one server.
pub(crate) struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON, if the status is the one expected.
    pub(crate) fn json(&self, expected: StatusCode) -> Result<Value> {
        ensure!(
            self.status == expected,
            "{} instead of {expected}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        serde_json::from_slice(&self.body).context("reading an answer")
    }
}

impl Connection {
    /// Connects to the server of `url`, such as `http://127.0.0.1:8080`.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let Some(host) = url.strip_prefix("http://") else {
            bail!("{url}: only http:// is measured");
        };
        let host = host.trim_end_matches('/');
        let stream = TcpStream::connect(host)
            .await
            .with_context(|| format!("connecting to {url}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            host: host.to_owned(),
            sender,
        })
    }

    /// Posts JSON.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Result<Answer> {
        let request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, "application/json");
        self.send(request.body(Full::from(body.to_string()))?).await
    }

    /// Gets a path.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer> {
        let request = self.request(Method::GET, path);
        self.send(request.body(Full::default())?).await
    }

    /// Asks `/lease` for a key.
    pub(crate) async fn lease(&mut self, key: &str, ttl: &str) -> Result<Answer> {
        let request = self
            .request(Method::POST, "/lease")
            .header("x-lease-ttl", ttl);
        let body = format!(r#"{{"key":"{key}","value":"bench"}}"#);
        self.send(request.body(Full::from(body))?).await
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, body })
    }
}
