//! etcd that asks who we are, and is asked who it is.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use etcd_client::{Permission, PermissionType};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use shared_lock_svc::store::{
    StoreError,
    etcd::{EtcdOptions, EtcdStore, EtcdTls},
};
use testbed::{Etcd, Launch, Scratch, free_port, servers};
use tokio::time::timeout;

use super::{plain, ready};
use crate::contract::{Store, acquired, holds, release, request, waits};

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_with_users_is_worked_with_by_one_of_them_also_after_its_tokens_are_forgotten() {
    let etcd = Etcd::start().await.unwrap();
    let mut client = plain(&etcd).await;
    client
        .user_add("root", "root-password", None)
        .await
        .unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.role_add("locks").await.unwrap();
    let all = Permission::new(PermissionType::Readwrite, "/shared-lock").with_prefix();
    client.role_grant_permission("locks", all).await.unwrap();
    client
        .user_add("locks", "locks-password", None)
        .await
        .unwrap();
    client.user_grant_role("locks", "locks").await.unwrap();
    client.auth_enable().await.unwrap();

    let store = as_user(&etcd, "locks-password").await;
    ready(&store).await;
    let tenure = holds(&store, "users", "first").await;
    let waiter = waits(&store, "users", "second", Duration::from_secs(50)).await;
    // A restart forgets all simple tokens.
    etcd.restart().await.unwrap();
    ready(&store).await;
    assert!(release(&store, "users", &tenure).await);
    acquired(
        timeout(Duration::from_secs(10), waiter)
            .await
            .unwrap()
            .unwrap(),
    );

    for stranger in [
        as_user(&etcd, "wrong").await,
        super::connect(&[etcd.endpoint()]).await,
    ] {
        let outcome = stranger.acquire(request("users", "stranger")).await;
        assert!(
            matches!(
                outcome,
                Err(StoreError::Unavailable(_) | StoreError::Refused(_))
            ),
            "{outcome:?}"
        );
    }
}

async fn as_user(etcd: &Etcd, password: &str) -> Store {
    let options = EtcdOptions {
        credentials: Some(("locks".into(), password.into())),
        ..EtcdOptions::new([etcd.endpoint()])
    };
    Arc::new(EtcdStore::connect(options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_over_tls_wants_our_certificate_and_we_want_its() {
    let data = Scratch::new("etcd-tls").unwrap();
    let file = |name: &str| data.path().join(name);
    let ours = Authority::new();
    ours.write(&file("ca.crt"));
    ours.issue(&file("server.crt"), &file("server.key"));
    ours.issue(&file("client.crt"), &file("client.key"));
    Authority::new().write(&file("stranger.crt"));
    let (client_url, peer_url) = (url("https"), url("http"));
    let etcd = Launch::new("etcd-tls", servers::etcd().unwrap())
        .args(["--name", "tls", "--log-level", "warn", "--client-cert-auth"])
        .args(["--data-dir".into(), file("data")])
        .args([
            "--cert-file".into(),
            file("server.crt"),
            "--key-file".into(),
            file("server.key"),
        ])
        .args(["--trusted-ca-file".into(), file("ca.crt")])
        .args([
            "--listen-client-urls",
            &client_url,
            "--advertise-client-urls",
            &client_url,
        ])
        .args([
            "--listen-peer-urls",
            &peer_url,
            "--initial-advertise-peer-urls",
            &peer_url,
        ])
        .args(["--initial-cluster", &format!("tls={peer_url}")]);
    let _etcd = etcd.spawn().unwrap();

    let identity = Some((file("client.crt"), file("client.key")));
    let known = over_tls(&client_url, file("ca.crt"), identity.clone()).await;
    ready(&known).await;
    holds(&known, "tls", "holder").await;
    for stranger in [
        over_tls(&client_url, file("ca.crt"), None).await,
        over_tls(&client_url, file("stranger.crt"), identity).await,
    ] {
        let outcome = stranger.acquire(request("tls", "stranger")).await;
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{outcome:?}"
        );
    }
}

fn url(scheme: &str) -> String {
    format!("{scheme}://127.0.0.1:{}", free_port().unwrap())
}

async fn over_tls(url: &str, ca: PathBuf, identity: Option<(PathBuf, PathBuf)>) -> Store {
    let tls = EtcdTls {
        ca: Some(ca),
        identity,
    };
    let options = EtcdOptions {
        tls: Some(tls),
        ..EtcdOptions::new([url])
    };
    Arc::new(EtcdStore::connect(options).await.unwrap())
}

/// A certificate authority of a test.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn write(&self, path: &Path) {
        fs::write(path, self.certificate.pem()).unwrap();
    }

    /// A certificate for 127.0.0.1, good for servers and clients.
    fn issue(&self, certificate: &Path, key: &Path) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let pair = KeyPair::generate().unwrap();
        fs::write(
            certificate,
            params.signed_by(&pair, &self.issuer).unwrap().pem(),
        )
        .unwrap();
        fs::write(key, pair.serialize_pem()).unwrap();
    }
}
