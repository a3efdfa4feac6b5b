//! A bare etcd client that creates a key and deletes it again: the least that a lock could cost on this etcd.

use anyhow::{Result, ensure};
use etcd_client::{Client, Compare, CompareOp, KvClient, Txn, TxnOp};

use crate::load::Worker;

/// One who does so with a key of its own.
pub(crate) struct Pairs {
    key: String,
    client: KvClient,
}

impl Pairs {
    /// So many, on the connection of `client`: HTTP/2, as etcd clients have it.
    pub(crate) fn of(client: &Client, workers: usize) -> Vec<Self> {
        (0..workers)
            .map(|worker| Self {
                key: format!("/bench/{worker}"),
                client: client.kv_client(),
            })
            .collect()
    }
}

impl Worker for Pairs {
    async fn work(&mut self, _: u64) -> Result<()> {
        let create = Txn::new()
            .when([Compare::create_revision(
                self.key.as_str(),
                CompareOp::Equal,
                0,
            )])
            .and_then([TxnOp::put(self.key.as_str(), "bench", None)]);
        let created = self.client.txn(create).await?;
        ensure!(created.succeeded(), "the key is there already");
        let revision = created.header().map_or(0, |header| header.revision());
        let delete = Txn::new()
            .when([Compare::mod_revision(
                self.key.as_str(),
                CompareOp::Equal,
                revision,
            )])
            .and_then([TxnOp::delete(self.key.as_str(), None)]);
        ensure!(
            self.client.txn(delete).await?.succeeded(),
            "the key is somebody else's"
        );
        Ok(())
    }
}
