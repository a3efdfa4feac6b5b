//! Who listens where, and where data are kept.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use testbed::workspace_root;

use crate::Mode;

/// The ports and directories of one run.
pub(crate) struct Layout {
    mode: Mode,
    first_port: u16,
    dir: PathBuf,
}

/// Those who listen, in the order of their ports.
#[derive(Clone, Copy)]
pub(crate) enum Listener {
    SharedLock,
    Hostname,
    MessageHash,
    Etcd,
    EtcdPeers,
    OpenBao,
    OpenBaoPeers,
    Postgres,
}

use Listener::{
    Etcd, EtcdPeers, Hostname, MessageHash, OpenBao, OpenBaoPeers, Postgres, SharedLock,
};

impl Layout {
    pub(crate) fn new(mode: Mode, first_port: u16, dir: Option<PathBuf>) -> Self {
        let dir = dir.unwrap_or_else(|| workspace_root().join(".holdfast/up"));
        Self {
            mode,
            first_port,
            dir,
        }
    }

    /// What the services stand on.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// The directory of everything.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of one part; the two ways to run share none.
    pub(crate) fn data(&self, part: &str) -> PathBuf {
        let mode = if self.mode == Mode::Real {
            "real"
        } else {
            "embedded"
        };
        self.dir.join(mode).join(part)
    }

    /// The file of what a store prints.
    pub(crate) fn log(&self, store: &str) -> PathBuf {
        self.data("log").join(format!("{store}.log"))
    }

    pub(crate) fn port(&self, listener: Listener) -> u16 {
        self.first_port.saturating_add(listener as u16)
    }

    pub(crate) fn url(&self, listener: Listener) -> String {
        format!("http://127.0.0.1:{}", self.port(listener))
    }

    /// All or nothing: a part that finds its port taken would fail after others have started.
    pub(crate) fn check_ports(&self) -> Result<()> {
        let mut listeners = vec![SharedLock, Hostname, MessageHash];
        if self.mode == Mode::Real {
            listeners.extend([Etcd, EtcdPeers, OpenBao, OpenBaoPeers, Postgres]);
        }
        let taken: Vec<String> = listeners
            .into_iter()
            .filter(|listener| {
                TcpListener::bind((Ipv4Addr::LOCALHOST, self.port(*listener))).is_err()
            })
            .map(|listener| format!("{} (for {})", self.port(listener), listener.name()))
            .collect();
        ensure!(
            taken.is_empty(),
            "these ports are taken, nothing was started: {}; `just up --first-port {}` takes others",
            taken.join(", "),
            self.elsewhere()
        );
        Ok(())
    }

    /// A first port that may be free where this one is not.
    fn elsewhere(&self) -> u16 {
        const STEP: u16 = 1000;
        self.first_port
            .checked_add(STEP)
            .unwrap_or(self.first_port - STEP)
    }

    /// Where the services are and what to ask them first.
    pub(crate) fn greeting(&self, postgres: Option<&str>) -> String {
        let [locks, hostnames, messages] = [SharedLock, Hostname, MessageHash]
            .map(|listener| format!("localhost:{}", self.port(listener)));
        let stores = self.stores(postgres);
        format!(
            r#"
shared-lock-svc   http://{locks}
  curl -i -XPOST {locks}/lease -H 'x-lease-ttl: 60s' -d '{{"key":"k","value":"v"}}'
hostname-svc      http://{hostnames}
  curl -s -XPOST {hostnames}/v1/hostnames -H 'content-type: application/json' -d '{{"application":"splunk","role":"web","environment":"dev"}}'
message-hash-svc  http://{messages}
  curl -s -XPOST {messages}/messages -H 'content-type: application/json' -d '{{"message":"foo"}}'
{stores}"#
        )
    }

    /// Where the stores are, and at which URL PostgreSQL is, if it is.
    fn stores(&self, postgres: Option<&str>) -> String {
        let postgres = match postgres {
            Some(url) => format!("{url} (log: {})", self.log("postgres").display()),
            None => "none is installed: message-hash-svc is on its embedded store".to_owned(),
        };
        let servers = match self.mode {
            Mode::Real => format!(
                "etcd              {} (log: {})\nOpenBao           {} (log: {}; root token: {})\nPostgreSQL        {postgres}\n",
                self.url(Etcd),
                self.log("etcd").display(),
                self.url(OpenBao),
                self.log("openbao").display(),
                self.data("openbao").join("keys.json").display(),
            ),
            Mode::Embedded | Mode::Down => String::new(),
        };
        format!("{servers}data              {}\n", self.data("").display())
    }
}

impl Listener {
    fn name(self) -> &'static str {
        match self {
            SharedLock => "shared-lock-svc",
            Hostname => "hostname-svc",
            MessageHash => "message-hash-svc",
            Etcd => "etcd",
            EtcdPeers => "etcd's peers",
            OpenBao => "OpenBao",
            OpenBaoPeers => "OpenBao's peers",
            Postgres => "PostgreSQL",
        }
    }
}
