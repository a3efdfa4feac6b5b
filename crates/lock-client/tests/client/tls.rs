//! The service behind a proxy that speaks TLS, wants a certificate, and a token.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_client::{ClientOptions, Error, LockClient, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use testbed::Scratch;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::scripted::{Reply, Scripted, for_ttl};
use crate::service::{TTL, shared};

/// An authority, and what it signed, as PEM files.
struct Authority {
    dir: Scratch,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let dir = Scratch::new(name).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { dir, issuer }
    }

    /// A certificate and its key for `name`.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let file = |end| self.dir.path().join(format!("{name}.{end}"));
        fs::write(file("pem"), cert.pem()).unwrap();
        fs::write(file("key"), key.serialize_pem()).unwrap();
        (file("pem"), file("key"))
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

/// Passes what comes over TLS on to `upstream`; clients show a certificate of `authority`.
async fn tls_before(upstream: &str, authority: &Authority) -> String {
    let (cert, key) = authority.issue("localhost");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority.ca()).unwrap())
        .unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(cert).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let upstream = upstream.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
            tokio::spawn(async move {
                let Ok(client) = acceptor.accept(client).await else {
                    return;
                };
                let server = TcpStream::connect(upstream).await.unwrap();
                let (mut from_client, mut to_client) = tokio::io::split(client);
                let (mut from_server, mut to_server) = server.into_split();
                let _ = tokio::join!(
                    copy(&mut from_client, &mut to_server),
                    copy(&mut from_server, &mut to_client)
                );
            });
        }
    });
    url
}

fn options(url: &str, tls: TlsOptions) -> ClientOptions {
    ClientOptions {
        tls,
        ..ClientOptions::new([url], "ann")
    }
}

#[tokio::test]
async fn a_lock_is_held_over_tls_with_our_own_authority_and_a_client_certificate() {
    let authority = Authority::new("authority");
    let url = tls_before(shared().await.url(), &authority).await;
    let (cert, key) = authority.issue("ann");
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
    let stranger = Authority::new("stranger");
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
        match request.action.as_str() {
            "acquire" => Reply::granted(request, 7, ttl),
            "keepalive" => Reply::kept(ttl),
            _ => Reply::released(true),
        }
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
    let authority = Authority::new("authority");
    let tls = TlsOptions {
        ca_file: Some(authority.ca()),
        ..TlsOptions::default()
    };
    let locks = LockClient::new(options(&url, tls)).unwrap();
    let error = locks.try_acquire("k", for_ttl(TTL)).await.unwrap_err();
    assert!(error.is_outage(), "{error:?}");
}
