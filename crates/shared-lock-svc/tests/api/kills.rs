//! The embedded store under SIGKILL: whatever was acknowledged is there afterwards.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use testbed::eventually;
use tokio::task::JoinSet;

use crate::app::TestApp;

const ROUNDS: usize = 8;
const WORKERS: usize = 12;

/// What the service has acknowledged.
#[derive(Default, Clone)]
struct Acknowledged {
    /// Tenures that nobody has tried to release.
    held: HashMap<String, Value>,
    /// Tenures whose release was acknowledged since the last kill.
    released: HashMap<String, Value>,
    /// The largest token of each lock.
    highest: HashMap<String, u64>,
    grants: usize,
    /// Since the last kill.
    fresh: usize,
}

/// Takes locks and gives half of them back, until the connection breaks.
async fn load(
    app: Arc<TestApp>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    round: usize,
    worker: usize,
) {
    let client = reqwest::Client::new();
    let post = async |path: String, body: Value| -> Option<(u16, Value)> {
        let url = format!("{}{path}", app.service.url());
        let answer = client.post(url).json(&body).send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    };
    for turn in 0.. {
        // Some locks are used in every round: their tokens must rise across the kills.
        let key = match turn % 2 {
            0 => format!("again-{worker}"),
            _ => format!("once-{round}-{worker}-{turn}"),
        };
        let wish = json!({ "holder": "h", "ttl_ms": 120_000 });
        let Some((status, tenure)) = post(format!("/v1/locks/{key}/acquire"), wish).await else {
            return;
        };
        assert!(status == 201 || status == 409, "{key}: {status} {tenure}");
        if status == 409 {
            // Held since an earlier round, or by an acquire whose answer the kill took.
            continue;
        }
        let token = tenure["fencing_token"].as_str().unwrap().parse().unwrap();
        {
            let mut acknowledged = acknowledged.lock().unwrap();
            let before = acknowledged.highest.insert(key.clone(), token);
            assert!(before < Some(token), "{key}: {before:?} then {token}");
            acknowledged.grants += 1;
            acknowledged.fresh += 1;
            acknowledged.held.insert(key.clone(), tenure.clone());
        }
        if turn % 4 < 3 {
            acknowledged.lock().unwrap().held.remove(&key);
            let release =
                json!({ "lease_id": tenure["lease_id"], "fencing_token": tenure["fencing_token"] });
            let Some((status, answer)) = post(format!("/v1/locks/{key}/release"), release).await
            else {
                return;
            };
            assert_eq!(
                (status, answer),
                (200, json!({ "released": true })),
                "{key}"
            );
            acknowledged.lock().unwrap().released.insert(key, tenure);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_grant_and_release_survives_sigkill() {
    let app = Arc::new(TestApp::with(&[("STORAGE_TYPE", "embedded")]).await);
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    for round in 0..ROUNDS {
        {
            let mut acknowledged = acknowledged.lock().unwrap();
            acknowledged.fresh = 0;
            acknowledged.released.clear();
        }
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            workers.spawn(load(
                Arc::clone(&app),
                Arc::clone(&acknowledged),
                round,
                worker,
            ));
        }
        eventually(
            "there is load",
            Duration::from_secs(20),
            async || match acknowledged.lock().unwrap().fresh {
                fresh if fresh > 100 => Ok(()),
                fresh => Err(fresh),
            },
        )
        .await
        .unwrap();
        app.service.kill().unwrap();
        workers.join_all().await;
        app.service.restart().await.unwrap();
        let acknowledged = acknowledged.lock().unwrap().clone();
        check(&app, &acknowledged).await;
    }
    let grants = acknowledged.lock().unwrap().grants;
    println!("{grants} grants, {ROUNDS} kills, nothing lost");
}

async fn check(app: &TestApp, acknowledged: &Acknowledged) {
    let client = reqwest::Client::new();
    let lock = |key: &str| format!("{}/v1/locks/{key}", app.service.url());
    let token = async |key: &str| -> Value {
        let view = client.get(lock(key)).send().await.unwrap();
        let view: Value = view.json().await.unwrap();
        view["holders"][0]["fencing_token"].clone()
    };
    for (key, tenure) in &acknowledged.held {
        assert_eq!(token(key).await, tenure["fencing_token"], "{key} is lost");
        let lease = json!({ "lease_id": tenure["lease_id"] });
        let keepalive = format!("{}/keepalive", lock(key));
        let kept = client.post(keepalive).json(&lease).send().await.unwrap();
        assert_eq!(kept.status(), 200, "{key}");
    }
    for (key, tenure) in &acknowledged.released {
        assert_ne!(token(key).await, tenure["fencing_token"], "{key} is back");
    }
}
