//! One real request through all of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::layout::{Layout, Listener};

/// Makes a hostname under a prefix that nobody else would take, and tells which; the caller's own counters stay as they are.
pub(crate) async fn make_a_hostname(layout: &Layout) -> Result<String> {
    let url = format!("{}/v1/hostnames", layout.url(Listener::Hostname));
    let prefix = json!({ "application": "holdfast", "role": "proof", "environment": "local" });
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(15))
        .no_proxy()
        .build()?;
    let asked = Instant::now();
    let answer = client
        .post(&url)
        .json(&prefix)
        .send()
        .await
        .context("asking for a hostname")?;
    let took = asked.elapsed().as_millis();
    let (status, body) = (answer.status(), answer.text().await?);
    ensure!(
        status == 201,
        "POST /v1/hostnames answered {status}: {body}"
    );
    let hostname: Value = serde_json::from_str(&body)?;
    let hostname = hostname["hostname"]
        .as_str()
        .context("the answer names no hostname")?;
    Ok(format!(
        "{hostname} was made under a lock in {took} ms, so everything works. Ctrl-C stops it."
    ))
}
