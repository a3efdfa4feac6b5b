//! The few HTTP calls that the testbed itself makes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method};
use serde_json::Value;

/// A client with no connections yet: one that is kept would belong to the runtime of the test that made it.
pub(crate) fn client() -> Result<Client> {
    // Loopback only: the proxy of the developer's shell has nothing to do here.
    Ok(Client::builder()
        .timeout(Duration::from_secs(5))
        .no_proxy()
        .build()?)
}

pub(crate) async fn get(url: &str, token: Option<&str>) -> Result<Value> {
    send(Method::GET, url, token, None).await
}

pub(crate) async fn post(url: &str, token: Option<&str>, body: &Value) -> Result<Value> {
    send(Method::POST, url, token, Some(body)).await
}

async fn send(
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<Value> {
    let mut request = client()?.request(method, url);
    if let Some(token) = token {
        request = request.header("x-vault-token", token);
    }
    if let Some(body) = body {
        // What changes a server may have to wait for its disk, or for its election.
        request = request.json(body).timeout(Duration::from_secs(30));
    }
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{url} answered {status}: {text}");
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("{url} answered {text}"))
}
