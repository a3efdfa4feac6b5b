//! SIGKILL in a loop, under load, on the embedded store.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::Client;
use serde_json::Value;

use crate::app::{TestApp, unique, wish};

const KILLS: usize = 8;
const CALLERS: usize = 16;

#[tokio::test]
async fn every_hostname_that_was_answered_is_there_after_a_kill() {
    let app = Arc::new(TestApp::start().await);
    let mut told: HashMap<String, Value> = HashMap::new();
    for _ in 0..KILLS {
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                tokio::spawn(call_until_over(
                    app.url("/v1/hostnames"),
                    caller,
                    Arc::clone(&over),
                ))
            })
            .collect();
        let enough = testbed::eventually(
            "some hostnames",
            std::time::Duration::from_secs(30),
            async || {
                let text = app
                    .client
                    .get(app.url("/metrics"))
                    .send()
                    .await?
                    .text()
                    .await?;
                let count = text.lines().find_map(|line| {
                    line.strip_prefix(r#"hostname_allocations_total{result="created"} "#)
                });
                anyhow::ensure!(
                    count.is_some_and(|count| count.parse::<u64>().unwrap() > 50),
                    "{count:?}"
                );
                Ok(())
            },
        );
        enough.await.unwrap();
        app.service.kill().unwrap();
        over.store(true, Ordering::Relaxed);
        for caller in callers {
            for body in caller.await.unwrap() {
                let name = body["hostname"].as_str().unwrap().to_owned();
                assert_eq!(
                    told.insert(name.clone(), body),
                    None,
                    "{name} was given twice"
                );
            }
        }
        app.service.restart().await.unwrap();
    }
    assert!(told.len() > KILLS * 50);
    for (name, body) in &told {
        let found = app.get(&format!("/v1/hostnames/{name}")).await;
        assert_eq!((found.status.as_u16(), &found.body), (200, body));
    }
    contiguous(&app, &told).await;
}

/// Calls until the service is gone, and gives back what it was told.
async fn call_until_over(url: String, caller: usize, over: Arc<AtomicBool>) -> Vec<Value> {
    let client = Client::builder().no_proxy().build().unwrap();
    let mut told = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let mut request = client.post(&url).json(&wish("splunk", "web", "dev"));
        if caller.is_multiple_of(2) {
            request = request.header("idempotency-key", unique("kill"));
        }
        // An answer that breaks off in the middle is none.
        let Ok(response) = request.send().await else {
            continue;
        };
        if response.status() == 201
            && let Ok(body) = response.json().await
        {
            told.push(body);
        }
    }
    told
}

/// One more call settles what the last kill left; then the numbers have no gap.
async fn contiguous(app: &TestApp, told: &HashMap<String, Value>) {
    let last = app.allocate(&wish("splunk", "web", "dev")).await.counter();
    let (mut counters, mut after) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/v1/hostnames?limit=500{after}")).await;
        let hostnames = page.body["hostnames"].as_array().unwrap();
        counters.extend(hostnames.iter().map(|it| it["counter"].as_u64().unwrap()));
        match page.body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(counters, (1..=last).collect::<Vec<_>>());
    assert!(counters.len() > told.len());
}
