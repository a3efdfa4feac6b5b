//! The service behind a proxy that speaks TLS, wants a certificate, and a token.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_client::{ClientOptions, Error, LockClient, TlsOptions};
use testbed::{Authority, Scratch, tls_before};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::scripted::{Reply, Scripted, for_ttl};
use crate::service::{TTL, shared};

fn options(url: &str, tls: TlsOptions) -> ClientOptions {
    ClientOptions {
        tls,
        ..ClientOptions::new([url], "ann")
    }
}

#[tokio::test]
async fn a_lock_is_held_over_tls_with_our_own_authority_and_a_client_certificate() {
    let authority = Authority::new().unwrap();
    let server = authority.issue("localhost").unwrap();
    let url = tls_before(shared().await.url(), server, Some(&authority))
        .await
        .unwrap();
    let (cert, key) = authority.issue("ann").unwrap();
    let tls = TlsOptions {
        ca_file: Some(authority.ca()),
        cert_file: Some(cert),
        key_file: Some(key),
    };
    let locks = LockClient::new(options(&url, tls.clone())).unwrap();
    let ttl = Duration::from_secs(2);
    let guard = locks.acquire("over-tls", for_ttl(ttl)).await.unwrap();
    assert!(tokio::time::timeout(2 * ttl, guard.lost()).await.is_err());
    guard.release().await.unwrap();

    let without_certificate = TlsOptions {
        cert_file: None,
        key_file: None,
        ..tls.clone()
    };
    let stranger = Authority::new().unwrap();
    let unknown_authority = TlsOptions {
        ca_file: Some(stranger.ca()),
        ..tls
    };
    for tls in [without_certificate, unknown_authority] {
        let locks = LockClient::new(options(&url, tls)).unwrap();
        let error = locks.try_acquire("over-tls", for_ttl(TTL)).await;
        let error = error.unwrap_err();
        assert!(error.is_outage(), "{error:?}");
    }
}

#[test]
fn credentials_that_cannot_be_used_are_told_by_name() {
    let dir = Scratch::new("credentials").unwrap();
    let file = |name: &str, text: &str| {
        let file = dir.path().join(name);
        fs::write(&file, text).unwrap();
        Some(file)
    };
    let tls = TlsOptions::default;
    let cases = [
        (
            "tls.ca_file",
            TlsOptions {
                ca_file: file("none", "no certificate"),
                ..tls()
            },
        ),
        (
            "tls.ca_file",
            TlsOptions {
                ca_file: Some(dir.path().join("away")),
                ..tls()
            },
        ),
        (
            "tls.key_file",
            TlsOptions {
                cert_file: file("cert", ""),
                ..tls()
            },
        ),
        (
            "tls.cert_file",
            TlsOptions {
                key_file: file("key", ""),
                ..tls()
            },
        ),
    ];
    for (named, tls) in cases {
        let error = LockClient::new(options("https://localhost", tls)).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidOption { option, .. } if *option == named),
            "{error}"
        );
    }
    for text in ["", " \n", "two\nlines"] {
        let options = ClientOptions {
            bearer_token_file: file("token", text),
            ..ClientOptions::new(["http://localhost"], "ann")
        };
        let error = LockClient::new(options).unwrap_err().to_string();
        assert!(
            error.contains("bearer_token_file") && !error.contains("lines"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_token_is_read_anew_when_its_file_was_replaced() {
    let dir = Scratch::new("token").unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "first\n").unwrap();
    let ttl = Duration::from_millis(900);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tokens = Arc::clone(&seen);
    let server = Scripted::start(move |request, _| {
        let token = request.headers.get("authorization").cloned();
        tokens.lock().unwrap().push(token.unwrap_or_default());
        Reply::well(request, ttl)
    })
    .await;
    let options = ClientOptions {
        bearer_token_file: Some(file.clone()),
        ..ClientOptions::new([server.url()], "ann")
    };
    let guard = LockClient::new(options)
        .unwrap()
        .acquire("k", for_ttl(ttl))
        .await
        .unwrap();
    assert_eq!(seen.lock().unwrap()[..], ["Bearer first"]);
    fs::write(&file, "second").unwrap();
    let renewals = server.requests("keepalive").len();
    server.wait_for("keepalive", renewals + 2).await;
    assert_eq!(seen.lock().unwrap().last().unwrap(), "Bearer second");
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_guard_outlives_the_authority_and_the_certificate_that_it_began_with() {
    let dir = Scratch::new("rotated").unwrap();
    let (old, new) = (Authority::new().unwrap(), Authority::new().unwrap());
    let file = |name: &str| dir.path().join(name);
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    let install = |authority: &Authority| {
        let (its_cert, its_key) = authority.issue("ann").unwrap();
        for (from, to) in [(authority.ca(), &ca), (its_cert, &cert), (its_key, &key)] {
            let fresh = file("fresh");
            fs::copy(from, &fresh).unwrap();
            fs::rename(fresh, to).unwrap();
        }
    };
    install(&old);
    let service = shared().await.url();
    let server = |authority: &Authority| authority.issue("localhost").unwrap();
    let before = tls_before(service, server(&old), Some(&old)).await.unwrap();
    let after = tls_before(service, server(&new), Some(&new)).await.unwrap();
    let tls = TlsOptions {
        ca_file: Some(ca.clone()),
        cert_file: Some(cert.clone()),
        key_file: Some(key.clone()),
    };
    let locks = LockClient::new(ClientOptions {
        tls,
        ..ClientOptions::new([&before, &after], "ann")
    });
    let locks = locks.unwrap();
    let ttl = Duration::from_secs(4);
    let guard = locks.acquire("rotated", for_ttl(ttl)).await.unwrap();
    // Half of it is written: nothing can be made of that, and nothing is lost.
    fs::write(&cert, "no certificate").unwrap();
    assert!(tokio::time::timeout(ttl, guard.lost()).await.is_err());
    install(&new);
    // From now on no new connection to the old server is trusted, and every one to the new one is.
    assert!(tokio::time::timeout(2 * ttl, guard.lost()).await.is_err());
    let only_new = |url: &str| {
        options(
            url,
            TlsOptions {
                ca_file: Some(ca.clone()),
                cert_file: Some(cert.clone()),
                key_file: Some(key.clone()),
            },
        )
    };
    let url = before.as_str();
    let error = LockClient::new(only_new(url))
        .unwrap()
        .try_acquire("x", for_ttl(TTL))
        .await;
    assert!(error.unwrap_err().is_outage());
    guard.release().await.unwrap();
}

/// A server that only ever says its one thing keeps nobody waiting.
#[tokio::test]
async fn plain_text_where_tls_is_spoken_is_an_outage_and_no_hang() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut hello = [0; 64];
            let _ = client.read(&mut hello).await;
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let authority = Authority::new().unwrap();
    let tls = TlsOptions {
        ca_file: Some(authority.ca()),
        ..TlsOptions::default()
    };
    let locks = LockClient::new(options(&url, tls)).unwrap();
    let error = locks.try_acquire("k", for_ttl(TTL)).await.unwrap_err();
    assert!(error.is_outage(), "{error:?}");
}
