//! The server under test, and an administrator who prepares it by Vault's own API.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use testbed::OpenBao;
use tokio::sync::OnceCell;
use vault_kv::{Auth, VaultKv, VaultOptions};

/// The server that all tests share which do not break it; each has folders and roles of its own.
pub(crate) async fn shared() -> &'static OpenBao {
    static SERVER: OnceCell<OpenBao> = OnceCell::const_new();
    SERVER
        .get_or_init(async || OpenBao::start().await.unwrap())
        .await
}

/// A client with the token that may do everything.
pub(crate) fn root(bao: &OpenBao) -> VaultKv {
    VaultKv::connect(VaultOptions::new(
        bao.address(),
        Auth::Token(bao.root_token().into()),
    ))
    .unwrap()
}

/// A client with a token of its own, which may do what `rules` say.
pub(crate) async fn with_policy(bao: &OpenBao, name: &str, rules: &str) -> VaultKv {
    let admin = Admin(bao);
    admin
        .post(
            &format!("sys/policies/acl/{name}"),
            json!({ "policy": rules }),
        )
        .await;
    let token = admin
        .post("auth/token/create", json!({ "policies": [name] }))
        .await;
    let token = token["auth"]["client_token"].as_str().unwrap().to_owned();
    VaultKv::connect(VaultOptions::new(bao.address(), Auth::Token(token.into()))).unwrap()
}

/// Runs `call` and tells how long it took.
pub(crate) async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    (call.await, started.elapsed())
}

/// Vault's own API, with the token that may do everything.
pub(crate) struct Admin<'a>(pub(crate) &'a OpenBao);

impl Admin<'_> {
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.ask(Method::DELETE, path, None).await;
    }

    pub(crate) async fn mount_kv(&self, mount: &str) {
        self.mount_kv_in("", mount).await;
    }

    /// Mounts KV v2 in a namespace, `""` or with a `/` at its end.
    pub(crate) async fn mount_kv_in(&self, namespace: &str, mount: &str) {
        let kind = json!({ "type": "kv", "options": { "version": "2" } });
        self.post(&format!("{namespace}sys/mounts/{mount}"), kind)
            .await;
        let config = format!("{namespace}{mount}/config");
        // A new KV v2 mount answers with an error until it has prepared itself.
        testbed::eventually(
            "the new mount answers",
            Duration::from_secs(60),
            async || {
                let (status, answer) = self.try_ask(Method::GET, &config, None).await;
                if status.is_success() {
                    Ok(())
                } else {
                    Err(answer)
                }
            },
        )
        .await
        .unwrap();
    }

    /// An AppRole whose tokens may do everything under `secret/` but not under `denied/`, and live for `ttl`, at most
    /// `max_ttl`.
    pub(crate) async fn app_role(&self, name: &str, ttl: &str, max_ttl: &str) -> Auth {
        // The first test to come enables the method; the others are told that it is there.
        self.try_ask(
            Method::POST,
            "sys/auth/approle",
            Some(json!({ "type": "approle" })),
        )
        .await;
        let rules = r#"
            path "secret/*" { capabilities = ["create", "read", "update", "list"] }
            path "secret/data/denied/*" { capabilities = ["deny"] }
        "#;
        self.post("sys/policies/acl/secrets", json!({ "policy": rules }))
            .await;
        let role = format!("auth/approle/role/{name}");
        let settings =
            json!({ "token_policies": ["secrets"], "token_ttl": ttl, "token_max_ttl": max_ttl });
        self.post(&role, settings).await;
        let role_id = self.get(&format!("{role}/role-id")).await;
        let secret_id = self.post(&format!("{role}/secret-id"), json!({})).await;
        Auth::AppRole {
            role_id: role_id["data"]["role_id"].as_str().unwrap().to_owned(),
            secret_id: SecretString::from(secret_id["data"]["secret_id"].as_str().unwrap()),
            mount: "approle".to_owned(),
        }
    }

    /// The living tokens that logins of the AppRole `name` made.
    pub(crate) async fn tokens_of(&self, name: &str) -> Vec<Value> {
        let list = Method::from_bytes(b"LIST").unwrap();
        let accessors = self.ask(list, "auth/token/accessors", None).await;
        let mut tokens = Vec::new();
        for accessor in accessors["data"]["keys"].as_array().unwrap() {
            let body = Some(json!({ "accessor": accessor }));
            // One that ended since the list was made is not found.
            let (_, token) = self
                .try_ask(Method::POST, "auth/token/lookup-accessor", body)
                .await;
            if token["data"]["meta"]["role_name"] == name {
                tokens.push(token["data"].clone());
            }
        }
        tokens
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.try_ask(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    async fn try_ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .unwrap();
        let url = format!("{}/v1/{path}", self.0.address());
        let request = http
            .request(method, url)
            .header("X-Vault-Token", self.0.root_token());
        let request = body
            .iter()
            .fold(request, |request, body| request.json(body));
        let response = request.send().await.unwrap();
        let status = response.status();
        (
            status,
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default(),
        )
    }
}
