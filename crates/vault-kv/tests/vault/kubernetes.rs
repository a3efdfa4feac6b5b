//! Logins with the token of a Kubernetes service account. The Vault is real; the cluster behind it is a
//! scripted `TokenReview`, which Vault asks whether a token is one of the cluster's.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testbed::{OpenBao, Scratch};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use vault_kv::{Auth, InvalidOption, Read, VaultError, VaultKv, VaultOptions};

use crate::server::{Admin, shared};

/// Vault wants one, though it speaks with the cluster in the clear.
const UNUSED_CA: &str = "\
-----BEGIN CERTIFICATE-----
MIIBhTCCASugAwIBAgIULFad2Tj+mSScTn7te0YttjVzcScwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMdGVzdCBjbHVzdGVyMCAXDTI2MTEyMzIwMTkyOVoYDzIxMjYx
MDMwMjAxOTI5WjAXMRUwEwYDVQQDDAx0ZXN0IGNsdXN0ZXIwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAAQNxMwn2nFTXBijyAjVUuHBEM3Ohku4YgBDhKDMPyP+UfcN
6YaukcNqzQlVo63qNu6SGNG2sv0uySvVjZhj0zWno1MwUTAdBgNVHQ4EFgQUj/KY
6th9nO+kiFo5wt/srwjYbA0wHwYDVR0jBBgwFoAUj/KY6th9nO+kiFo5wt/srwjY
bA0wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAocFBoiZBB1B3
BiuJ+XxVfGkGsry9lP5IrnefvhfiA4YCIBZc6qM+Q8cYJPHbn7s+vop09QJ7NywE
4/UpAAW2EesY
-----END CERTIFICATE-----";

/// The API server of a cluster that knows one service account, by any of its tokens but the ended ones.
struct Cluster {
    address: String,
    reviewed: Arc<Mutex<BTreeSet<String>>>,
    ended: Arc<Mutex<BTreeSet<String>>>,
}

impl Cluster {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            reviewed: Arc::default(),
            ended: Arc::default(),
        };
        let (reviewed, ended) = (Arc::clone(&cluster.reviewed), Arc::clone(&cluster.ended));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (reviewed, ended) = (Arc::clone(&reviewed), Arc::clone(&ended));
                tokio::spawn(async move {
                    let review = read_review(connection).await;
                    let Some((mut connection, token)) = review else {
                        return;
                    };
                    let known = !ended.lock().unwrap().contains(&token);
                    reviewed.lock().unwrap().insert(token);
                    let _ = connection.write_all(verdict(known).as_bytes()).await;
                });
            }
        });
        cluster
    }

    fn reviewed(&self, token: &str) -> bool {
        self.reviewed.lock().unwrap().contains(token)
    }

    fn end(&self, token: &str) {
        self.ended.lock().unwrap().insert(token.to_owned());
    }
}

/// The token that Vault wants reviewed.
async fn read_review(mut connection: TcpStream) -> Option<(TcpStream, String)> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(review) = serde_json::from_str::<Value>(body)
        {
            let token = review["spec"]["token"].as_str()?.to_owned();
            return Some((connection, token));
        }
        let read = connection.read_buf(&mut request).await.ok()?;
        if read == 0 {
            return None;
        }
    }
}

fn verdict(known: bool) -> String {
    let status = match known {
        true => json!({ "authenticated": true, "user": {
            "username": "system:serviceaccount:platform:hostname-svc", "uid": "4711",
            "groups": ["system:serviceaccounts"],
        } }),
        false => json!({ "authenticated": false, "error": "the token has expired" }),
    };
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status,
    });
    let body = review.to_string();
    format!(
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A token of the service account, as Kubernetes projects it; `id` makes it another one.
fn jwt(id: &str) -> String {
    let claims = json!({
        "iss": "https://kubernetes.default.svc", "jti": id, "exp": 4_102_444_800_u64, "nbf": 1, "iat": 1,
        "sub": "system:serviceaccount:platform:hostname-svc",
        "kubernetes.io": {
            "namespace": "platform", "serviceaccount": { "name": "hostname-svc", "uid": "4711" },
        },
    });
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({ "alg": "RS256", "typ": "JWT", "kid": "one" }));
    format!(
        "{head}.{}.{}",
        part(claims),
        URL_SAFE_NO_PAD.encode([7; 256])
    )
}

/// Sets up the method at `mount`, with a role whose tokens live for `ttl` and at most `max_ttl`.
async fn trust(bao: &OpenBao, cluster: &Cluster, mount: &str, (ttl, max_ttl): (&str, &str)) {
    let admin = Admin(bao);
    admin
        .post(
            &format!("sys/auth/{mount}"),
            json!({ "type": "kubernetes" }),
        )
        .await;
    let config = json!({
        "kubernetes_host": cluster.address, "token_reviewer_jwt": jwt("reviewer"),
        "disable_local_ca_jwt": true, "kubernetes_ca_cert": UNUSED_CA,
    });
    admin.post(&format!("auth/{mount}/config"), config).await;
    let rules = r#"path "secret/*" { capabilities = ["create", "read", "update", "list"] }"#;
    let policy = json!({ "policy": rules });
    admin.post("sys/policies/acl/pods", policy).await;
    let role = json!({
        "bound_service_account_names": ["hostname-svc"],
        "bound_service_account_namespaces": ["platform"],
        "token_policies": ["pods"], "token_ttl": ttl, "token_max_ttl": max_ttl,
    });
    admin.post(&format!("auth/{mount}/role/pod"), role).await;
}

fn options(bao: &OpenBao, mount: &str, dir: &Scratch) -> VaultOptions {
    let auth = Auth::Kubernetes {
        role: "pod".to_owned(),
        jwt_file: dir.path().join("token"),
        mount: mount.to_owned(),
    };
    VaultOptions::new(bao.address(), auth)
}

#[tokio::test]
async fn each_login_shows_the_service_accounts_token_as_it_is_then() {
    let (bao, cluster) = (shared().await, Cluster::start().await);
    let dir = Scratch::new("service-account").unwrap();
    trust(bao, &cluster, "kube-rotated", ("2s", "3s")).await;
    fs::write(dir.path().join("token"), format!("{}\n", jwt("first"))).unwrap();
    let vault = VaultKv::connect(options(bao, "kube-rotated", &dir)).unwrap();
    assert_eq!(vault.read::<Value>("kube/a").await.unwrap(), Read::Absent);
    assert!(cluster.reviewed(&jwt("first")));
    // Kubernetes writes a new one, and the old one ends.
    fs::write(dir.path().join("token"), jwt("second")).unwrap();
    cluster.end(&jwt("first"));
    // The token of Vault's cannot outlive three seconds: every call succeeds across two logins.
    let again = testbed::eventually(
        "a login with the new token",
        Duration::from_secs(60),
        async || {
            assert_eq!(vault.read::<Value>("kube/a").await.unwrap(), Read::Absent);
            if cluster.reviewed(&jwt("second")) {
                Ok(())
            } else {
                Err("not yet")
            }
        },
    );
    again.await.unwrap();
}

#[tokio::test]
async fn a_service_account_that_the_cluster_does_not_know_is_refused() {
    let (bao, cluster) = (shared().await, Cluster::start().await);
    let dir = Scratch::new("service-account").unwrap();
    trust(bao, &cluster, "kube-ended", ("1h", "1h")).await;
    fs::write(dir.path().join("token"), jwt("ended")).unwrap();
    cluster.end(&jwt("ended"));
    let vault = VaultKv::connect(options(bao, "kube-ended", &dir)).unwrap();
    let error = vault.write("kube/b", 0, &json!({})).await.unwrap_err();
    assert!(matches!(error, VaultError::Forbidden(_)), "{error:?}");
    assert!(error.surely_not_written());
    // A token that is good again is taken without a restart.
    fs::write(dir.path().join("token"), jwt("good")).unwrap();
    let good = testbed::eventually("a login", Duration::from_secs(60), async || {
        vault.read::<Value>("kube/b").await
    });
    good.await.unwrap();
}

#[tokio::test]
async fn a_token_file_that_is_missing_or_empty_is_refused_at_once() {
    let bao = shared().await;
    let dir = Scratch::new("service-account").unwrap();
    let refused =
        |options: VaultOptions| -> InvalidOption { VaultKv::connect(options).unwrap_err() };
    assert_eq!(refused(options(bao, "kubernetes", &dir)).option, "jwt_file");
    fs::write(dir.path().join("token"), "\n").unwrap();
    let empty = refused(options(bao, "kubernetes", &dir));
    assert_eq!(empty.option, "jwt_file");
    assert!(empty.reason.ends_with("is empty"), "{empty}");
}
