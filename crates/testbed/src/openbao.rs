//! A real Vault API: OpenBao.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    Launch, Process, Scratch, free_port, free_ports, http, servers,
    slot::{Slot, process_verbs},
};

const READY: Duration = Duration::from_secs(30);
const DEV_TOKEN: &str = "root";
const UNSEAL_KEY: &str = "Unseal Key: ";

/// One OpenBao server with a KV v2 mount at `secret/`.
pub struct OpenBao {
    mode: Mode,
    address: String,
    dir: PathBuf,
    keys: Mutex<Keys>,
    slot: Slot,
    /// Removed when the server is dropped.
    _data: Option<Scratch>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Dev,
    Raft { cluster_port: u16 },
}

#[derive(Clone, Default)]
struct Keys {
    root_token: String,
    unseal_key: String,
}

impl OpenBao {
    /// Starts one in dev mode: in memory, unsealed, gone when killed.
    ///
    /// # Errors
    /// When there is no `bao`, or it does not get ready.
    pub async fn start() -> Result<Self> {
        let data = Scratch::new("openbao")?;
        // In dev mode it takes the next port too, for a cluster.
        let port = free_ports(2)?;
        Self::launch(Mode::Dev, data.path().to_owned(), port, Some(data)).await
    }

    /// Starts one on raft storage on disk; it survives `kill` and `restart`.
    ///
    /// # Errors
    /// When there is no `bao`, or it does not get ready.
    pub async fn start_raft() -> Result<Self> {
        let data = Scratch::new("openbao")?;
        let mode = Mode::Raft {
            cluster_port: free_port()?,
        };
        Self::launch(mode, data.path().to_owned(), free_port()?, Some(data)).await
    }

    /// Starts one on the raft storage that `dir` may already hold, and unseals it with the keys that lie beside it in
    /// `keys.json`, which only its owner can read.
    ///
    /// # Errors
    /// When there is no `bao`, or it does not get ready.
    pub async fn open(dir: &Path, port: u16, cluster_port: u16) -> Result<Self> {
        Self::launch(Mode::Raft { cluster_port }, dir.to_owned(), port, None).await
    }

    async fn launch(mode: Mode, dir: PathBuf, port: u16, data: Option<Scratch>) -> Result<Self> {
        fs::create_dir_all(dir.join("raft"))?;
        let address = format!("http://127.0.0.1:{port}");
        let slot = Slot::new(spawn(mode, &dir, &address)?);
        let bao = Self {
            mode,
            address,
            dir,
            keys: Mutex::default(),
            slot,
            _data: data,
        };
        bao.ready().await?;
        Ok(bao)
    }

    /// Where clients connect: `http://127.0.0.1:…`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The token that may do everything.
    pub fn root_token(&self) -> String {
        self.keys().root_token.clone()
    }

    process_verbs!();

    /// A token that may do what `policy` says and nothing else, for as long as it is renewed.
    ///
    /// # Errors
    /// When the policy is not one.
    pub async fn token(&self, name: &str, policy: &str) -> Result<String> {
        self.post(
            &format!("sys/policies/acl/{name}"),
            &json!({ "policy": policy }),
        )
        .await?;
        let asked = json!({ "policies": [name], "period": "24h", "no_parent": true });
        let token = self.post("auth/token/create", &asked).await?;
        let token = token["auth"]["client_token"].as_str().map(str::to_owned);
        token.context("the answer holds no token")
    }

    /// Seals it: it answers, and refuses everything.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub async fn seal(&self) -> Result<()> {
        self.post("sys/seal", &json!({})).await?;
        Ok(())
    }

    /// Unseals it, and waits until it serves again.
    ///
    /// # Errors
    /// When it cannot be unsealed.
    pub async fn unseal(&self) -> Result<()> {
        let key = self.keys().unseal_key.clone();
        self.post("sys/unseal", &json!({ "key": key })).await?;
        self.serving().await
    }

    /// Kills it if it runs, starts it again on its port and unseals it; in dev mode it comes back empty.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn restart(&self) -> Result<()> {
        self.kill()?;
        self.slot
            .replace(spawn(self.mode, &self.dir, &self.address)?);
        self.ready().await
    }

    async fn ready(&self) -> Result<()> {
        match self.mode {
            Mode::Dev => {
                self.serving().await?;
                let process = self.process();
                // It serves a moment before it tells.
                process.log().wait_for(UNSEAL_KEY, READY).await?;
                let told = |line: &str| Some(line.split_once(UNSEAL_KEY)?.1.to_owned());
                let unseal_key = process.log().find(told).unwrap_or_default();
                *self.keys() = Keys {
                    root_token: DEV_TOKEN.to_owned(),
                    unseal_key,
                };
            }
            Mode::Raft { .. } => {
                let keys = self.open_keys().await?;
                *self.keys() = keys;
                self.unseal().await?;
                self.mount_kv().await?;
            }
        }
        self.kv_answers().await
    }

    /// The keys of an earlier start, or those of a first one.
    async fn open_keys(&self) -> Result<Keys> {
        let status = format!("{}/v1/sys/init", self.address);
        let initialised = self
            .process()
            .ready(READY, async || http::get(&status, None).await)
            .await?["initialized"]
            == true;
        let file = self.dir.join("keys.json");
        if !initialised {
            let keys = self
                .post(
                    "sys/init",
                    &json!({ "secret_shares": 1, "secret_threshold": 1 }),
                )
                .await?;
            write_private(&file, &keys.to_string())?;
        }
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let keys: Value = serde_json::from_str(&text)?;
        let member = |value: &Value| value.as_str().map(str::to_owned);
        let (root_token, unseal_key) =
            (member(&keys["root_token"]), member(&keys["keys_base64"][0]));
        let unreadable = || {
            format!(
                "{} does not hold a root token and an unseal key",
                file.display()
            )
        };
        Ok(Keys {
            root_token: root_token.with_context(unreadable)?,
            unseal_key: unseal_key.with_context(unreadable)?,
        })
    }

    async fn mount_kv(&self) -> Result<()> {
        let mounts = self.get("sys/mounts").await?;
        if mounts["data"]["secret/"].is_null() {
            self.post(
                "sys/mounts/secret",
                &json!({ "type": "kv", "options": { "version": "2" } }),
            )
            .await?;
        }
        Ok(())
    }

    /// Unsealed and active.
    async fn serving(&self) -> Result<()> {
        let health = format!("{}/v1/sys/health", self.address);
        self.process()
            .ready(READY, async || http::get(&health, None).await.map(drop))
            .await
    }

    /// A new KV v2 mount answers with an error until it has prepared itself.
    async fn kv_answers(&self) -> Result<()> {
        self.process()
            .ready(READY, async || self.get("secret/config").await.map(drop))
            .await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}/v1/{path}", self.address);
        http::get(&url, Some(&self.root_token())).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/v1/{path}", self.address);
        http::post(&url, Some(&self.root_token()), body).await
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(mode: Mode, dir: &Path, address: &str) -> Result<Process> {
    let listen = address.trim_start_matches("http://");
    // It writes a token and plug-ins into its home.
    let launch = Launch::new("openbao", servers::bao()?)
        .env("HOME", dir)
        .args(["server"]);
    match mode {
        Mode::Dev => launch
            .args(["-dev", "-dev-no-store-token"])
            .args([
                format!("-dev-root-token-id={DEV_TOKEN}"),
                format!("-dev-listen-address={listen}"),
            ])
            .spawn(),
        Mode::Raft { cluster_port } => {
            let config = dir.join("openbao.json");
            let settings = json!({
                // Alone, it need not wait long for other candidates.
                "log_level": "warn",
                "storage": { "raft": {
                    "path": dir.join("raft"), "node_id": "holdfast", "performance_multiplier": "1",
                } },
                "listener": [{ "tcp": { "address": listen, "tls_disable": true } }],
                "api_addr": address,
                "cluster_addr": format!("http://127.0.0.1:{cluster_port}"),
            });
            fs::write(&config, settings.to_string())?;
            launch
                .args(["-config".as_ref(), config.as_os_str()])
                .spawn()
        }
    }
}

/// The file is private before the first byte is in it.
fn write_private(file: &Path, text: &str) -> Result<()> {
    let mut opened = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()?;
    Ok(())
}
