//! The environment of a tentens-tech/shared-lock server: every variable of its documentation, and the
//! timeouts that it documents and forgets to read.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use crate::{app::TestApp, settings::run};

/// What `config` shows with these variables: the value of each setting.
async fn values(settings: &[(&str, &str)]) -> HashMap<String, String> {
    let named: Vec<_> = settings
        .iter()
        .map(|(name, value)| (format!("SHARED_LOCK_{name}"), *value))
        .collect();
    let named: Vec<_> = named
        .iter()
        .map(|(name, value)| (&**name, *value))
        .collect();
    let shown = run("config", &named).await;
    assert!(shown.status.success(), "{settings:?}: {shown:?}");
    let mut values = HashMap::new();
    let mut current = String::new();
    for line in String::from_utf8(shown.stdout).unwrap().lines() {
        if let Some(name) = line.strip_prefix("SHARED_LOCK_") {
            name.clone_into(&mut current);
        } else if let Some(value) = line.trim().strip_prefix("value:") {
            values.insert(current.clone(), value.trim().to_owned());
        }
    }
    values
}

#[tokio::test]
async fn every_variable_has_the_documented_default() {
    let values = values(&[]).await;
    for (name, default) in [
        ("SERVER_PORT", "8080"),
        ("SERVER_READ_TIMEOUT", "10s"),
        ("SERVER_WRITE_TIMEOUT", "10s"),
        ("SERVER_IDLE_TIMEOUT", "120s"),
        ("SERVER_SHUTDOWN_TIMEOUT", "10s"),
        ("PPROF_ENABLED", "false"),
        ("STORAGE_TYPE", "etcd"),
        ("ETCD_ADDR_LIST", "http://localhost:2379"),
        ("ETCD_TLS", "false"),
        ("CA_CERT_PATH", "/etc/etcd/ca.crt"),
        ("CLIENT_CERT_PATH", "/etc/etcd/client.crt"),
        ("CLIENT_KEY_PATH", "/etc/etcd/client.key"),
        ("CACHE_ENABLED", "false"),
        ("CACHE_SIZE", "1000"),
        ("DEBUG", "false"),
    ] {
        assert_eq!(
            values.get(name).map(String::as_str),
            Some(default),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_bool_is_spelled_as_go_spells_it_and_a_duration_too() {
    const BOOLS: [&str; 4] = ["PPROF_ENABLED", "DEBUG", "ETCD_TLS", "CACHE_ENABLED"];
    for spelling in [
        "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False",
    ] {
        values(&BOOLS.map(|name| (name, spelling))).await;
    }
    const TIMEOUTS: [&str; 4] = [
        "SERVER_READ_TIMEOUT",
        "SERVER_WRITE_TIMEOUT",
        "SERVER_IDLE_TIMEOUT",
        "SERVER_SHUTDOWN_TIMEOUT",
    ];
    for duration in [
        "5s",
        "1m30s",
        "1.5h",
        "1500ms",
        "+5s",
        "2m0.5s",
        "1000000us",
        "3s1ns",
    ] {
        let values = values(&TIMEOUTS.map(|name| (name, duration))).await;
        for name in TIMEOUTS {
            assert_eq!(values[name], duration, "{name}");
        }
    }
    for (name, wrong) in BOOLS
        .into_iter()
        .flat_map(|name| ["yes", "TrUe", "2", ""].map(|wrong| (name, wrong)))
        .chain(
            TIMEOUTS
                .into_iter()
                .flat_map(|name| ["5", "1d", "5 s", "-1s", ""].map(|w| (name, w))),
        )
    {
        let name = format!("SHARED_LOCK_{name}");
        let ended = run("config", &[(&name, wrong)]).await;
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{name}={wrong}: {told}");
        assert!(told.contains(&name) && told.lines().count() == 1, "{told}");
    }
}

#[tokio::test]
async fn the_write_timeout_ends_a_call_that_the_store_leaves_hanging() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let service = TestApp::service(&[
        ("STORAGE_TYPE", "etcd"),
        ("ETCD_ADDR_LIST", &endpoint),
        ("ETCD_TIMEOUT", "30s"),
        ("SERVER_WRITE_TIMEOUT", "200ms"),
    ]);
    let app = TestApp::of(service.start_listening().await.unwrap());
    let asked = Instant::now();
    assert_eq!(app.lease("", "{}").await.status, 500);
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(900), "{took:?}");
    assert_eq!(app.prolong("1").await.status, 503);
}

#[tokio::test]
async fn the_idle_timeout_closes_a_connection_without_requests() {
    let app = TestApp::with(&[("SERVER_IDLE_TIMEOUT", "1s")]).await;
    let mut connection = app.connect().await;
    let request = b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let asked = Instant::now();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(8), connection.read_to_end(&mut answer))
        .await
        .expect("the connection is closed")
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    assert!(asked.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn the_shutdown_timeout_bounds_what_open_requests_get() {
    let settings = [
        ("SERVER_SHUTDOWN_TIMEOUT", "1s"),
        ("SERVER_READ_TIMEOUT", "60s"),
    ];
    let app = TestApp::with(&settings).await;
    let mut connection = app.connect().await;
    let head = b"POST /lease HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n{";
    connection.write_all(head).await.unwrap();
    // Answered behind it: the server has seen the first.
    assert_eq!(app.call("GET", "/health", "", "").await.status, 200);
    let asked = Instant::now();
    let status = app.service.terminate().await.unwrap();
    assert!(status.success(), "{status:?}");
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}
