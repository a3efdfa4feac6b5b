//! A replica is stopped for longer than its leases live, and goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testbed::eventually;
use tokio::{task::JoinSet, time::sleep};

use crate::app::TestApp;

const STOP: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_secs(5);

fn signal(app: &TestApp, signal: Signal) {
    let pid = Pid::from_raw(app.service.pid().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Whether the tenure is current, by the word of another replica.
async fn is_current(other: &TestApp, key: &str, tenure: &Value) -> bool {
    let claim = json!({ "lease_id": tenure["lease_id"], "fencing_token": tenure["fencing_token"] });
    let answer = other.post(&format!("/v1/locks/{key}/verify"), claim).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["current"] == true
}

/// Callers that take and release locks, one after the other, until they are told that it is over.
struct Load {
    paused: Arc<TestApp>,
    other: Arc<TestApp>,
    granted: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    async fn work(self: Arc<Self>, worker: usize) {
        for turn in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            self.take(&format!("load-{worker}-{turn}")).await;
        }
    }

    /// Whatever is told acquired is, for as long as the answer says.
    async fn take(&self, key: &str) {
        let sent = Instant::now();
        let wish = json!({ "holder": "load", "ttl_ms": TTL.as_millis() });
        let path = format!("/v1/locks/{key}");
        let acquire = format!("{path}/acquire");
        let Some(answer) = self.paused.post_if_heard(&acquire, wish).await else {
            return;
        };
        match answer.status.as_u16() {
            201 => {
                self.granted.fetch_add(1, Ordering::Relaxed);
                let ms = |field: &str| Duration::from_millis(answer.body[field].as_u64().unwrap());
                let until = sent + ms("elapsed_ms") + ms("remaining_ms");
                if until > Instant::now() + Duration::from_secs(2) {
                    let current = is_current(&self.other, key, &answer.body).await;
                    assert!(current, "{key} was told acquired: {answer:?}");
                }
                let request = json!({ "request_id": answer.body["request_id"] });
                let release = format!("{path}/release");
                self.paused.post_if_heard(&release, request).await;
            }
            503 => {}
            status => panic!("{status}: {answer:?}"),
        }
    }

    /// Waits until as many more are granted.
    async fn goes_on(&self, more: usize) {
        let wanted = self.granted.load(Ordering::Relaxed) + more;
        eventually(
            "locks are granted",
            Duration::from_secs(30),
            async || match self.granted.load(Ordering::Relaxed) {
                granted if granted >= wanted => Ok(()),
                granted => Err(format!("{granted} of {wanted}")),
            },
        )
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_stopped_under_load_goes_on_within_two_seconds_and_tells_no_lie() {
    let (etcd, paused) = TestApp::on_etcd(&[]).await;
    let store = [
        ("STORAGE_TYPE", "etcd"),
        ("ETCD_ADDR_LIST", etcd.endpoint()),
    ];
    let other = Arc::new(TestApp::with(&store).await);
    let paused = Arc::new(paused);
    let wish = json!({ "holder": "sleeper", "ttl_ms": TTL.as_millis() });
    let slept = paused.acquire("slept-on", wish).await.body;
    let load = Arc::new(Load {
        paused: Arc::clone(&paused),
        other: Arc::clone(&other),
        granted: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    });
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        workers.spawn(Arc::clone(&load).work(worker));
    }
    load.goes_on(100).await;

    signal(&paused, Signal::STOP);
    sleep(STOP).await;
    let wish = json!({ "holder": "awake", "ttl_ms": 60_000, "wait_ms": 5_000 });
    let next = other.acquire("slept-on", wish).await;
    assert_eq!(next.status, 201, "{next:?}");
    signal(&paused, Signal::CONT);
    let resumed = Instant::now();
    eventually(
        "locks are granted again",
        Duration::from_secs(10),
        async || {
            let wish = json!({ "holder": "again", "ttl_ms": TTL.as_millis() });
            match paused.post_if_heard("/v1/locks/fresh/acquire", wish).await {
                Some(answer) if answer.status == 201 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
    .unwrap();
    let took = resumed.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");

    // Who slept on its lock cannot do anything with it, whichever replica it asks.
    assert!(!is_current(&paused, "slept-on", &slept).await);
    let claim = json!({ "lease_id": slept["lease_id"], "fencing_token": slept["fencing_token"] });
    let released = paused.release("slept-on", claim).await;
    assert_eq!(released.body, json!({ "released": false }));
    let kept = json!({ "lease_id": slept["lease_id"] });
    assert_eq!(paused.keep_alive("slept-on", kept).await.status, 404);
    assert!(is_current(&paused, "slept-on", &next.body).await);

    load.goes_on(100).await;
    load.over.store(true, Ordering::Relaxed);
    workers.join_all().await;
}
