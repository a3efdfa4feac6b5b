//! etcd, one node or several.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    Launch, Process, Scratch, free_port, http, servers,
    slot::{Slot, process_verbs},
};

/// A node alone is ready in a second; the disk of a busy machine may take its time.
const READY: Duration = Duration::from_secs(30);

/// One etcd node, with its data in a directory on disk.
pub struct Etcd {
    node: Node,
    slot: Slot,
    /// Removed when the node is dropped.
    _data: Option<Scratch>,
}

impl Etcd {
    /// Starts a node on free ports, with an empty directory of its own.
    ///
    /// # Errors
    /// When there is no etcd, or it does not get ready.
    pub async fn start() -> Result<Self> {
        let data = Scratch::new("etcd")?;
        let node = Node::new("etcd", data.path(), free_port()?, free_port()?);
        Self::start_node(node.cluster(), node, Some(data)).await
    }

    /// Starts a node on the data that `dir` may already hold. It outlives the value.
    ///
    /// # Errors
    /// When there is no etcd, or it does not get ready.
    pub async fn open(dir: &Path, client_port: u16, peer_port: u16) -> Result<Self> {
        let node = Node::new("etcd", dir, client_port, peer_port);
        Self::start_node(node.cluster(), node, None).await
    }

    async fn start_node(cluster: String, node: Node, data: Option<Scratch>) -> Result<Self> {
        let node = Node { cluster, ..node };
        let etcd = Self {
            slot: Slot::new(node.spawn()?),
            node,
            _data: data,
        };
        etcd.ready().await?;
        Ok(etcd)
    }

    /// Where clients connect: `http://127.0.0.1:…`.
    pub fn endpoint(&self) -> &str {
        &self.node.client_url
    }

    process_verbs!();

    /// Kills it if it runs and starts it again on its data and its ports.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn restart(&self) -> Result<()> {
        self.start_again()?;
        self.ready().await
    }

    fn start_again(&self) -> Result<()> {
        self.kill()?;
        self.slot.replace(self.node.spawn()?);
        Ok(())
    }

    /// Until a linearizable read succeeds: there is a leader, and this node follows it.
    async fn ready(&self) -> Result<()> {
        let health = format!("{}/health", self.endpoint());
        self.process()
            .ready(READY, async || {
                let answer = http::client()?.get(&health).send().await?;
                ensure!(answer.status().is_success(), "{}", answer.text().await?);
                Ok(())
            })
            .await
    }
}

/// Several nodes of one cluster.
pub struct EtcdCluster(Vec<Etcd>);

impl EtcdCluster {
    /// Starts `size` nodes.
    ///
    /// # Errors
    /// When there is no etcd, or the cluster does not get ready.
    pub async fn start(size: usize) -> Result<Self> {
        let mut planned = Vec::new();
        for number in 0..size {
            let data = Scratch::new("etcd")?;
            let node = Node::new(
                &format!("etcd-{number}"),
                data.path(),
                free_port()?,
                free_port()?,
            );
            planned.push((node, data));
        }
        let members: Vec<String> = planned.iter().map(|(node, _)| node.cluster()).collect();
        let cluster = members.join(",");
        let mut nodes = Vec::new();
        // None is ready before a majority runs.
        for (node, data) in planned {
            let node = Node {
                cluster: cluster.clone(),
                ..node
            };
            nodes.push(Etcd {
                slot: Slot::new(node.spawn()?),
                node,
                _data: Some(data),
            });
        }
        for node in &nodes {
            node.ready().await?;
        }
        Ok(Self(nodes))
    }

    /// Where clients connect, one for each node.
    pub fn endpoints(&self) -> Vec<&str> {
        self.0.iter().map(Etcd::endpoint).collect()
    }

    /// The nodes, each to be killed, paused, resumed and restarted by itself.
    pub fn nodes(&self) -> &[Etcd] {
        &self.0
    }

    /// The place of the leader in `nodes`, as the first node that answers sees it.
    ///
    /// # Errors
    /// When no node answers, or there is no leader.
    pub async fn leader(&self) -> Result<usize> {
        let mut leader = None;
        let mut members = Vec::new();
        for node in &self.0 {
            let status = node_status(node).await.ok();
            leader = leader.or_else(|| Some(status.as_ref()?["leader"].as_str()?.to_owned()));
            members.push(
                status.and_then(|status| Some(status["header"]["member_id"].as_str()?.to_owned())),
            );
        }
        let place = members
            .iter()
            .position(|member| member.is_some() && *member == leader);
        place.context("no node says that it leads")
    }
}

async fn node_status(node: &Etcd) -> Result<Value> {
    if node.process().exit_status().is_some() {
        bail!("{} has ended", node.node.name);
    }
    http::post(
        &format!("{}/v3/maintenance/status", node.endpoint()),
        None,
        &json!({}),
    )
    .await
}

/// How a node is started, each time.
struct Node {
    name: String,
    dir: PathBuf,
    client_url: String,
    peer_url: String,
    cluster: String,
}

impl Node {
    fn new(name: &str, dir: &Path, client_port: u16, peer_port: u16) -> Self {
        Self {
            name: name.to_owned(),
            dir: dir.join("data"),
            client_url: format!("http://127.0.0.1:{client_port}"),
            peer_url: format!("http://127.0.0.1:{peer_port}"),
            cluster: String::new(),
        }
    }

    fn cluster(&self) -> String {
        format!("{}={}", self.name, self.peer_url)
    }

    fn spawn(&self) -> Result<Process> {
        Launch::new(&self.name, servers::etcd()?)
            .args(["--name", &self.name, "--log-level", "warn"])
            .args(["--data-dir".as_ref(), self.dir.as_os_str()])
            .args([
                "--listen-client-urls",
                &self.client_url,
                "--advertise-client-urls",
                &self.client_url,
            ])
            .args([
                "--listen-peer-urls",
                &self.peer_url,
                "--initial-advertise-peer-urls",
                &self.peer_url,
            ])
            .args(["--initial-cluster", &self.cluster])
            .spawn()
    }
}
