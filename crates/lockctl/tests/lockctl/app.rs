//! The service, and `lockctl` beside it.

use std::time::Duration;

use lock_client::{ClientOptions, LockClient};
use serde_json::Value;
use testbed::{Etcd, Launch, Process, RunningService, Scratch, Service, eventually};
use tokio::sync::OnceCell;

/// Long enough for a machine that others use.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The service that all tests share which do not break it; each test has keys of its own.
pub(crate) async fn shared() -> &'static RunningService {
    static SERVICE: OnceCell<RunningService> = OnceCell::const_new();
    SERVICE.get_or_init(async || start("memory").await).await
}

/// A service on an etcd of one's own.
pub(crate) async fn on_etcd(etcd: &Etcd) -> RunningService {
    Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "etcd")
        .env("SHARED_LOCK_ETCD_ADDR_LIST", etcd.endpoint())
        .start()
        .await
        .unwrap()
}

/// A service of one's own, to be broken.
pub(crate) async fn start(store: &str) -> RunningService {
    Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", store)
        .start()
        .await
        .unwrap()
}

pub(crate) fn client(service: &RunningService) -> LockClient {
    LockClient::new(ClientOptions::new([service.url()], "the test")).unwrap()
}

/// `lockctl`, started; its output is its log.
pub(crate) fn lockctl(url: &str, args: &[&str]) -> Process {
    launch(url).args(args).spawn().unwrap()
}

pub(crate) fn launch(url: &str) -> Launch {
    Launch::new("lockctl", env!("CARGO_BIN_EXE_lockctl")).env("LOCK_URL", url)
}

/// What runs a shell script under a lock; a server has half a second to answer.
pub(crate) fn sh<'a>(key: &'a str, ttl: &'a str, script: &'a str) -> Vec<&'a str> {
    let lock = ["run", "-k", key, "--ttl", ttl, "--timeout", "500ms"];
    [&lock[..], &["--", "sh", "-c", script]].concat()
}

/// How a process ended, and what it printed.
pub(crate) async fn outcome(process: &Process) -> (i32, String) {
    let ended = tokio::time::timeout(10 * SOON, process.ended()).await;
    let status = ended
        .unwrap_or_else(|_| panic!("it does not end: {}", process.log().text()))
        .unwrap();
    (status.code().unwrap_or(-1), process.log().text())
}

pub(crate) async fn run(url: &str, args: &[&str]) -> (i32, String) {
    outcome(&lockctl(url, args)).await
}

/// What it printed, as JSON.
pub(crate) async fn json(url: &str, args: &[&str]) -> Value {
    let args = [args, &["-o", "json"]].concat();
    let (code, text) = run(url, &args).await;
    assert_eq!(code, 0, "{args:?}: {text}");
    serde_json::from_str(&text).unwrap()
}

pub(crate) async fn eventually_free(service: &RunningService, key: &str) {
    let client = client(service);
    eventually("nobody holds or waits", SOON, async || {
        let lock = client
            .inspect(key)
            .await
            .map_err(|error| error.to_string())?;
        match lock.holders.is_empty() && lock.waiters.is_empty() {
            true => Ok(()),
            false => Err(format!("{lock:?}")),
        }
    })
    .await
    .unwrap();
}

/// Waits until the file holds something that `read` makes sense of.
pub(crate) async fn written<T>(file: &std::path::Path, read: impl Fn(&str) -> Option<T>) -> T {
    eventually(&format!("{}", file.display()), SOON, async || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        read(&text).ok_or(text)
    })
    .await
    .unwrap()
}

pub(crate) fn scratch(name: &str) -> Scratch {
    Scratch::new(name).unwrap()
}
