//! A real Vault API, and the service logged in to it with the policy that the project ships.

use reqwest::{Client, Method};
use serde_json::{Map, Value, json};
use testbed::{OpenBao, Service, workspace_root};
use tokio::sync::OnceCell;

use crate::app::{PATIENCE, TestApp, lock_service, unique};

/// A server in memory, shared by the tests that do nothing to it.
pub(crate) async fn open_bao() -> &'static OpenBao {
    static BAO: OnceCell<OpenBao> = OnceCell::const_new();
    BAO.get_or_init(|| async { OpenBao::start().await.unwrap() })
        .await
}

/// A counter as it is stored.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) value: u64,
    pub(crate) pending: Value,
    pub(crate) skipped: Map<String, Value>,
}

impl Counter {
    /// The numbers skipped.
    pub(crate) fn skipped_numbers(&self) -> impl Iterator<Item = u64> {
        self.skipped.keys().map(|number| number.parse().unwrap())
    }
}

/// Vault's own API, as root.
pub(crate) struct Vault {
    client: Client,
    address: String,
    token: String,
}

impl Vault {
    pub(crate) fn of(bao: &OpenBao) -> Self {
        Self {
            client: Client::builder().no_proxy().build().unwrap(),
            address: bao.address().to_owned(),
            token: bao.root_token(),
        }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self
            .client
            .request(method, format!("{}/v1/{path}", self.address));
        let response = request
            .header("X-Vault-Token", &self.token)
            .json(&body)
            .send()
            .await
            .unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default()
    }

    /// The state of the raft storage.
    pub(crate) async fn snapshot(&self) -> Vec<u8> {
        let request = self.client.get(self.snapshot_url(""));
        let request = request.header("X-Vault-Token", &self.token);
        let response = request.send().await.unwrap().error_for_status().unwrap();
        response.bytes().await.unwrap().to_vec()
    }

    /// Goes back to a snapshot.
    pub(crate) async fn restore(&self, snapshot: Vec<u8>) {
        let request = self.client.post(self.snapshot_url("-force")).body(snapshot);
        let request = request.header("X-Vault-Token", &self.token);
        request.send().await.unwrap().error_for_status().unwrap();
    }

    fn snapshot_url(&self, how: &str) -> String {
        format!("{}/v1/sys/storage/raft/snapshot{how}", self.address)
    }

    pub(crate) async fn read(&self, path: &str) -> Value {
        self.call("GET", path, json!(null)).await["data"]["data"].clone()
    }

    /// The counter of the prefix that most tests use.
    pub(crate) async fn counter(&self, base: &str) -> Counter {
        self.counter_of(base, "splunk/web/dev").await
    }

    /// The counter of a prefix, named by its path.
    pub(crate) async fn counter_of(&self, base: &str, prefix: &str) -> Counter {
        let counter = self
            .read(&format!("secret/data/{base}/counters/{prefix}"))
            .await;
        let parse = |field: &str| -> Value {
            serde_json::from_str(counter[field].as_str().unwrap()).unwrap()
        };
        Counter {
            value: counter["value"].as_u64().unwrap(),
            pending: parse("pending"),
            skipped: parse("skipped").as_object().unwrap().clone(),
        }
    }

    /// The names in a folder of the mount `secret`.
    pub(crate) async fn list(&self, folder: &str) -> Vec<String> {
        let names = self
            .call("LIST", &format!("secret/metadata/{folder}"), json!(null))
            .await;
        let names = names["data"]["keys"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        names
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    /// All audit records below a base path.
    pub(crate) async fn records(&self, base: &str) -> Vec<Value> {
        let mut paths = Vec::new();
        for folder in self.list(&format!("{base}/hosts")).await {
            let names = self.list(&format!("{base}/hosts/{folder}")).await;
            paths.extend(
                names
                    .iter()
                    .map(|name| format!("secret/data/{base}/hosts/{folder}{name}")),
            );
        }
        use futures_util::StreamExt;
        let reads = futures_util::stream::iter(&paths)
            .map(|path| self.read(path))
            .buffer_unordered(32);
        reads.collect().await
    }

    /// What `deploy/vault/hostname-svc.hcl` allows, below `base`.
    pub(crate) fn shipped_policy(&self, base: &str) -> String {
        let file = workspace_root().join("deploy/vault/hostname-svc.hcl");
        let policy = std::fs::read_to_string(file).unwrap();
        policy.replace("/hostnames/", &format!("/{base}/"))
    }

    /// Lets the AppRole `base` do what `policy` says.
    pub(crate) async fn put_policy(&self, base: &str, policy: &str) {
        let path = format!("sys/policies/acl/{base}");
        self.call("PUT", &path, json!({ "policy": policy })).await;
    }

    /// Sets up an AppRole that may do what is shipped below `base`, and gives its role id and secret id.
    pub(crate) async fn approle(&self, base: &str) -> (String, String) {
        self.put_policy(base, &self.shipped_policy(base)).await;
        self.call("POST", "sys/auth/approle", json!({ "type": "approle" }))
            .await;
        let role = format!("auth/approle/role/{base}");
        self.call(
            "POST",
            &role,
            json!({ "token_policies": [base], "token_ttl": "1h" }),
        )
        .await;
        let id = self
            .call("GET", &format!("{role}/role-id"), json!(null))
            .await;
        let secret = self
            .call("POST", &format!("{role}/secret-id"), json!({}))
            .await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (
            text(&id["data"]["role_id"]),
            text(&secret["data"]["secret_id"]),
        )
    }

    /// hostname-svc below `base`, logged in by an AppRole, with the lock service at `locks`.
    pub(crate) async fn service(&self, address: &str, base: &str, locks: &str) -> Service {
        let (role_id, secret_id) = self.approle(base).await;
        Service::new("hostname-svc")
            .env("HOSTNAME_SVC_STORE", "vault")
            .env("HOSTNAME_SVC_VAULT_ADDR", address)
            .env("HOSTNAME_SVC_VAULT_BASE_PATH", base)
            .env("HOSTNAME_SVC_VAULT_AUTH", "approle")
            .env("HOSTNAME_SVC_VAULT_ROLE_ID", role_id)
            .env("HOSTNAME_SVC_VAULT_SECRET_ID", secret_id)
            .env("HOSTNAME_SVC_LOCK_URL", locks)
            .env("HOSTNAME_SVC_BUDGET", PATIENCE)
            .env("HOSTNAME_SVC_LOCK_KEY_PREFIX", base)
    }
}

/// Checks that each number up to `last` has a record or is skipped.
pub(crate) async fn gap_free(vault: &Vault, base: &str, last: u64) {
    let counter = vault.counter(base).await;
    let mut explained: Vec<u64> = vault
        .records(base)
        .await
        .iter()
        .map(|it| it["counter"].as_u64().unwrap())
        .collect();
    explained.extend(counter.skipped_numbers());
    explained.sort_unstable();
    assert_eq!(explained, (1..=last).collect::<Vec<_>>(), "{counter:?}");
}

/// The service on each of its stores, with nothing in it; on Vault with the rights that are shipped.
pub(crate) async fn on_each_store() -> [TestApp; 2] {
    let (bao, base) = (open_bao().await, unique("each"));
    let locks = lock_service().await.url();
    let on_vault = Vault::of(bao).service(bao.address(), &base, locks).await;
    [TestApp::start().await, TestApp::with(on_vault).await]
}
