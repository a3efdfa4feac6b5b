//! What the services stand on.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use testbed::{Etcd, OpenBao, Process};

use crate::layout::{Layout, Listener};

/// The rights of hostname-svc, as they are shipped.
const POLICY: &str = include_str!("../../../../../deploy/vault/hostname-svc.hcl");

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
    },
}

impl Stores {
    /// Starts etcd and OpenBao on the data of earlier runs.
    pub(crate) async fn start_servers(layout: &Layout) -> Result<Self> {
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
        Ok(Self::Real {
            etcd,
            openbao,
            vault_token,
        })
    }

    /// What was started here.
    pub(crate) fn processes(&self) -> Vec<(&'static str, Arc<Process>)> {
        match self {
            Self::Embedded => Vec::new(),
            Self::Real { etcd, openbao, .. } => {
                vec![("etcd", etcd.process()), ("openbao", openbao.process())]
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
        let messages = vec![
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
            }
            Self::Real {
                etcd,
                openbao,
                vault_token,
            } => {
                locks.push(("SHARED_LOCK_STORAGE_TYPE", "etcd".to_owned()));
                locks.push(("SHARED_LOCK_ETCD_ADDR_LIST", etcd.endpoint().to_owned()));
                hostnames.push(("HOSTNAME_SVC_STORE", "vault".to_owned()));
                hostnames.push(("HOSTNAME_SVC_VAULT_ADDR", openbao.address().to_owned()));
                hostnames.push(("HOSTNAME_SVC_VAULT_AUTH", "token".to_owned()));
                hostnames.push(("HOSTNAME_SVC_VAULT_TOKEN", vault_token.clone()));
            }
        }
        Ok([
            ("shared-lock-svc", locks),
            ("hostname-svc", hostnames),
            ("message-hash-svc", messages),
        ])
    }
}

fn path(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}
