//! The servers that a measurement needs: an etcd, our service on it, the peers.

use std::{env, time::Duration};

use anyhow::{Context, Result};
use etcd_client::{Client, GetOptions};
use testbed::{Etcd, Launch, Process, RunningService, Service};
use tokio::task::JoinSet;

use crate::{Plan, peers::four_calls};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// Leases revoked at once: etcd revokes about a thousand in a second, and no faster for more.
const REVOCATIONS: usize = 16;

/// An etcd, started here or named by the plan.
pub(crate) struct Stage {
    endpoint: String,
    started: Option<Etcd>,
    pub(crate) client: Client,
}

/// A server started as a process of its own; it ends with this.
pub(crate) struct Peer {
    pub(crate) url: String,
    _process: Process,
}

impl Peer {
    /// The server, once it said where it listens, behind `words`.
    pub(crate) async fn listening(process: Process, words: &str, within: Duration) -> Result<Self> {
        let log = process.log().clone();
        let url = process
            .ready(within, async || {
                let text = log.text();
                let line = text.lines().find_map(|line| line.strip_prefix(words));
                line.map(str::to_owned).context("it does not listen yet")
            })
            .await?;
        Ok(Self {
            url,
            _process: process,
        })
    }
}

impl Stage {
    pub(crate) async fn set(plan: &Plan) -> Result<Self> {
        let started = match &plan.etcd {
            Some(_) => None,
            None => Some(Etcd::start().await.context("starting etcd")?),
        };
        let endpoint = match (&plan.etcd, &started) {
            (Some(url), _) => url.clone(),
            (None, Some(etcd)) => etcd.endpoint().to_owned(),
            (None, None) => anyhow::bail!("there is no etcd"),
        };
        let client = Client::connect([endpoint.as_str()], None)
            .await
            .context("connecting to etcd")?;
        Ok(Self {
            endpoint,
            started,
            client,
        })
    }

    /// The process of etcd, where it was started here.
    pub(crate) fn etcd_pid(&self) -> Option<u32> {
        self.started.as_ref().map(|etcd| etcd.process().pid())
    }

    /// Our service on this etcd.
    pub(crate) async fn shared_lock(&self, plan: &Plan) -> Result<RunningService> {
        Service::new("shared-lock-svc")
            .binary(plan.binaries.join("shared-lock-svc"))
            .env("SHARED_LOCK_ETCD_ADDR_LIST", &self.endpoint)
            .env("SHARED_LOCK_LOG_LEVEL", "warn,service_kit=info")
            .start()
            .await
            .context("starting shared-lock-svc; `just bench` builds it first")
    }

    /// The four-call lease on this etcd.
    pub(crate) async fn four_calls(&self) -> Result<Peer> {
        let process = Launch::new("four-calls", env::current_exe()?)
            .args(["four-calls", "--etcd", &self.endpoint])
            .spawn()?;
        Peer::listening(process, four_calls::LISTENING, START).await
    }

    /// Revokes the leases of all keys that a round took, so that the next one starts as this one did.
    pub(crate) async fn clear(&self, prefix: &str) -> Result<()> {
        let mut client = self.client.clone();
        let keys = GetOptions::new().with_prefix().with_keys_only();
        let held = client
            .get(format!("/shared-lock/{prefix}"), Some(keys))
            .await?;
        let mut leases = held
            .kvs()
            .iter()
            .map(|kv| kv.lease())
            .filter(|lease| *lease != 0);
        let mut revoking = JoinSet::new();
        loop {
            while revoking.len() < REVOCATIONS
                && let Some(lease) = leases.next()
            {
                let mut client = self.client.clone();
                revoking.spawn(async move { client.lease_revoke(lease).await });
            }
            match revoking.join_next().await {
                // A lease that ran out meanwhile is revoked as well.
                Some(revoked) => drop(revoked?),
                None => return Ok(()),
            }
        }
    }
}
