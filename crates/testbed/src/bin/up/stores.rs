//! What the services stand on.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use testbed::{Etcd, Launch, OpenBao, Postgres, Process};

use crate::layout::{Layout, Listener};

/// The rights of hostname-svc, as they are shipped.
const POLICY: &str = include_str!("../../../../../deploy/vault/hostname-svc.hcl");

/// As whom message-hash-svc connects to PostgreSQL.
const ROLE: &str = "message_hash";

/// Environment variables of one service.
pub(crate) type Settings = Vec<(&'static str, String)>;

/// The stores of one run.
pub(crate) enum Stores {
    /// Each service has its own.
    Embedded,
    /// Servers, started here.
    Real {
        etcd: Etcd,
        openbao: Box<OpenBao>,
        vault_token: String,
        /// None where none is installed.
        postgres: Option<Box<Postgres>>,
    },
}

impl Stores {
    /// Starts etcd, OpenBao, and PostgreSQL when there is one, on the data of earlier runs.
    pub(crate) async fn start_servers(layout: &Layout) -> Result<Self> {
        // etcd would make it for its own user alone, and PostgreSQL, which root may not run, could not get to its data.
        fs::create_dir_all(layout.data(""))?;
        fs::set_permissions(layout.data(""), Permissions::from_mode(0o711))?;
        let (client, peers) = (
            layout.port(Listener::Etcd),
            layout.port(Listener::EtcdPeers),
        );
        let etcd = Etcd::open(&layout.data("etcd"), client, peers).await?;
        let (client, peers) = (
            layout.port(Listener::OpenBao),
            layout.port(Listener::OpenBaoPeers),
        );
        let openbao = Box::new(OpenBao::open(&layout.data("openbao"), client, peers).await?);
        let vault_token = openbao.token("hostname-svc", POLICY).await?;
        let postgres = match testbed::servers::postgres() {
            Ok(_) => Some(Box::new(start_postgres(layout).await?)),
            Err(_) => None,
        };
        Ok(Self::Real {
            etcd,
            openbao,
            vault_token,
            postgres,
        })
    }

    /// Where the owner of the messages connects to PostgreSQL, when it was started.
    pub(crate) fn postgres(&self) -> Option<String> {
        match self {
            Self::Real { postgres, .. } => postgres.as_ref().map(|it| it.url()),
            Self::Embedded => None,
        }
    }

    /// What was started here.
    pub(crate) fn processes(&self) -> Vec<(&'static str, Arc<Process>)> {
        match self {
            Self::Embedded => Vec::new(),
            Self::Real {
                etcd,
                openbao,
                postgres,
                ..
            } => {
                let mut all = vec![("etcd", etcd.process()), ("openbao", openbao.process())];
                all.extend(postgres.iter().map(|it| ("postgres", it.process())));
                all
            }
        }
    }

    /// The services in the order in which they start, each with its settings.
    pub(crate) fn services(&self, layout: &Layout) -> Result<[(&'static str, Settings); 3]> {
        let listen = |listener| format!("127.0.0.1:{}", layout.port(listener));
        let mut locks = vec![
            (
                "SHARED_LOCK_SERVER_PORT",
                layout.port(Listener::SharedLock).to_string(),
            ),
            (
                "SHARED_LOCK_DATA_DIR",
                path(&layout.data("shared-lock-svc"))?,
            ),
            ("SHARED_LOCK_LOG_FORMAT", "text".to_owned()),
        ];
        let mut hostnames = vec![
            ("HOSTNAME_SVC_LISTEN", listen(Listener::Hostname)),
            ("HOSTNAME_SVC_DATA_DIR", path(&layout.data("hostname-svc"))?),
            ("HOSTNAME_SVC_LOCK_URL", layout.url(Listener::SharedLock)),
            ("HOSTNAME_SVC_LOG_FORMAT", "text".to_owned()),
        ];
        let mut messages = vec![
            ("MESSAGE_HASH_LISTEN", listen(Listener::MessageHash)),
            (
                "MESSAGE_HASH_DATA_DIR",
                path(&layout.data("message-hash-svc"))?,
            ),
            ("MESSAGE_HASH_LOG_FORMAT", "text".to_owned()),
        ];
        match self {
            Self::Embedded => {
                locks.push(("SHARED_LOCK_STORAGE_TYPE", "embedded".to_owned()));
                hostnames.push(("HOSTNAME_SVC_STORE", "embedded".to_owned()));
                messages.push(("MESSAGE_HASH_STORE", "embedded".to_owned()));
            }
            Self::Real {
                etcd,
                openbao,
                vault_token,
                postgres,
            } => {
                locks.push(("SHARED_LOCK_STORAGE_TYPE", "etcd".to_owned()));
                locks.push(("SHARED_LOCK_ETCD_ADDR_LIST", etcd.endpoint().to_owned()));
                hostnames.push(("HOSTNAME_SVC_STORE", "vault".to_owned()));
                hostnames.push(("HOSTNAME_SVC_VAULT_ADDR", openbao.address().to_owned()));
                hostnames.push(("HOSTNAME_SVC_VAULT_AUTH", "token".to_owned()));
                hostnames.push(("HOSTNAME_SVC_VAULT_TOKEN", vault_token.clone()));
                if let Some(postgres) = postgres {
                    messages.push(("MESSAGE_HASH_STORE", "postgres".to_owned()));
                    messages.push(("MESSAGE_HASH_POSTGRES_SHARDS", postgres.url_of(ROLE)));
                } else {
                    messages.push(("MESSAGE_HASH_STORE", "embedded".to_owned()));
                }
            }
        }
        Ok([
            ("shared-lock-svc", locks),
            ("hostname-svc", hostnames),
            ("message-hash-svc", messages),
        ])
    }
}

/// PostgreSQL with the schema of message-hash-svc, and the role as which that connects.
async fn start_postgres(layout: &Layout) -> Result<Postgres> {
    let postgres =
        Postgres::open(&layout.data("postgres"), layout.port(Listener::Postgres)).await?;
    let role = format!("SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}'");
    if postgres.sql(&role).await?.is_empty() {
        postgres.sql(&format!("CREATE ROLE {ROLE} LOGIN")).await?;
    }
    // It was built with this program, and lies beside it.
    let service = env::current_exe()?.with_file_name("message-hash-svc");
    let migrate = Launch::new("message-hash-svc migrate", service)
        .args(["migrate", "--url", &postgres.url(), "--grant", ROLE])
        .spawn()?;
    let ended = migrate.ended().await?;
    ensure!(ended.success(), "{ended}: {}", migrate.log().text());
    Ok(postgres)
}

fn path(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}
