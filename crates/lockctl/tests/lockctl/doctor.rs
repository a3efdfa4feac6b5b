//! `lockctl doctor` names what is wrong, planted one by one.

use serde_json::Value;
use testbed::{Authority, tls_before};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::app::{on_etcd, run, shared};

/// What was found, by name, and the exit code.
async fn found(url: &str, args: &[&str]) -> (i32, Vec<String>) {
    let args = [&["doctor", "-o", "json", "--timeout", "1500ms"], args].concat();
    let (code, text) = run(url, &args).await;
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(report["well"], code == 0, "{text}");
    let findings = report["findings"].as_array().unwrap();
    for finding in findings {
        let harmless = finding["finding"] == "well";
        assert_eq!(finding["do"] == "", harmless, "{finding}");
    }
    let names = findings
        .iter()
        .map(|one| one["finding"].as_str().unwrap().to_owned());
    (code, names.collect())
}

async fn finds(expected: &str, url: &str, args: &[&str]) {
    let (code, names) = found(url, args).await;
    assert!(
        code == 1 && names.iter().any(|name| name == expected),
        "{expected}: {names:?}"
    );
}

/// A server that answers each path as `answer` says, with this `Date`, or the present one.
async fn answering(
    date: Option<&'static str>,
    answer: impl Fn(&str) -> (u16, &'static str) + Send + Copy + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (status, body) = answer(path);
            let date = date
                .map(|date| format!("date: {date}\r\n"))
                .unwrap_or_default();
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} X\r\n{date}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn where_all_is_well_it_says_so() {
    let (code, names) = found(shared().await.url(), &[]).await;
    assert_eq!(
        (code, names),
        (0, vec!["well".to_owned(), "well".to_owned()])
    );
}

#[tokio::test]
async fn a_store_that_cannot_list_its_locks_is_well() {
    let bao = testbed::OpenBao::start().await.unwrap();
    let service = testbed::Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "vault")
        .env("SHARED_LOCK_VAULT_ADDR", bao.address())
        .env("SHARED_LOCK_VAULT_TOKEN", bao.root_token())
        .start()
        .await
        .unwrap();
    let (code, names) = found(service.url(), &[]).await;
    assert_eq!(code, 0, "{names:?}");
}

#[tokio::test]
async fn a_slash_behind_the_port_changes_nothing() {
    let url = format!("{}/", shared().await.url());
    assert_eq!(found(&url, &[]).await.0, 0);
}

#[tokio::test]
async fn a_wrong_port_is_told() {
    finds("nobody-listens", "http://127.0.0.1:1", &[]).await;
    let other = answering(None, |_| (200, "<html>hello</html>")).await;
    finds("not-a-lock-service", &other, &[]).await;
}

#[tokio::test]
async fn plain_where_tls_is_spoken_is_told_and_the_other_way_round() {
    let plain = shared().await.url();
    let authority = Authority::new().unwrap();
    let tls = tls_before(plain, authority.issue("localhost").unwrap(), None);
    let tls = tls.await.unwrap();
    finds("plain-to-tls", &tls.replace("https", "http"), &[]).await;
    let ca = authority.ca();
    let ca = ["--tls-ca", ca.to_str().unwrap()];
    finds("tls-to-plain", &plain.replace("http", "https"), &ca).await;
    assert_eq!(found(&tls, &ca).await.0, 0, "rightly asked, it works");
}

#[tokio::test]
async fn a_certificate_that_expired_or_that_nobody_knows_is_told() {
    let plain = shared().await.url();
    let (ours, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let file = ours.ca();
    let ca = ["--tls-ca", file.to_str().unwrap()];
    let expired = ours.issue_expired("localhost").unwrap();
    let expired = tls_before(plain, expired, None).await.unwrap();
    finds("expired-certificate", &expired, &ca).await;
    let unknown = other.issue("localhost").unwrap();
    let unknown = tls_before(plain, unknown, None).await.unwrap();
    finds("unknown-authority", &unknown, &ca).await;
    let misnamed = ours.issue("elsewhere").unwrap();
    let misnamed = tls_before(plain, misnamed, None).await.unwrap();
    finds("certificate-for-another-name", &misnamed, &ca).await;
    let strict = ours.issue("localhost").unwrap();
    let strict = tls_before(plain, strict, Some(&ours)).await.unwrap();
    finds("client-certificate", &strict, &ca).await;
}

#[tokio::test]
async fn a_server_that_does_not_know_us_or_does_not_let_us_is_told() {
    for (status, expected) in [(401, "unauthenticated"), (403, "forbidden")] {
        let url = match status {
            401 => {
                answering(None, |path| {
                    if path == "/livez" {
                        (200, "")
                    } else {
                        (401, "")
                    }
                })
                .await
            }
            _ => {
                answering(None, |path| {
                    if path == "/livez" {
                        (200, "")
                    } else {
                        (403, "")
                    }
                })
                .await
            }
        };
        finds(expected, &url, &[]).await;
    }
}

#[tokio::test]
async fn an_etcd_that_is_down_behind_a_service_that_lives_is_told() {
    let etcd = testbed::Etcd::start().await.unwrap();
    let service = on_etcd(&etcd).await;
    assert_eq!(found(service.url(), &[]).await.0, 0);
    etcd.kill().unwrap();
    finds("store-down", service.url(), &[]).await;
}

#[tokio::test]
async fn a_ttl_below_the_least_is_told() {
    finds(
        "ttl-below-minimum",
        shared().await.url(),
        &["--ttl", "500ms"],
    )
    .await;
}

#[tokio::test]
async fn a_server_of_the_old_wire_is_told_and_is_well_by_its_own_wire() {
    let old = answering(None, |path| match path {
        "/health" => (200, "OK"),
        _ => (404, "404 page not found\n"),
    })
    .await;
    finds("wrong-wire", &old, &[]).await;
    assert_eq!(found(&old, &["--wire", "lease"]).await.0, 0);
}

#[tokio::test]
async fn a_clock_that_is_far_off_is_told() {
    let url = answering(Some("Tue, 15 Nov 1994 08:12:31 GMT"), |_| {
        (200, "{\"locks\":[]}")
    })
    .await;
    finds("clock-off", &url, &[]).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_told_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    finds("silent", &url, &[]).await;
}
