//! What the main job runs on: replicas that are processes of their own, a real etcd, a real Vault API.

use futures_util::future::join_all;
use reqwest::Client;
use testbed::{Etcd, OpenBao, RunningService, Service};

use crate::vault::Vault;

/// One etcd, one Vault on raft storage, two lock servers.
pub(crate) struct Stage {
    _etcd: Etcd,
    pub(crate) bao: OpenBao,
    locks: Vec<RunningService>,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let (etcd, bao) = tokio::join!(Etcd::start(), OpenBao::start_raft());
        let etcd = etcd.unwrap();
        let lock = || {
            Service::new("shared-lock-svc")
                .env("SHARED_LOCK_STORAGE_TYPE", "etcd")
                .env("SHARED_LOCK_ETCD_ADDR_LIST", etcd.endpoint())
                .start()
        };
        let locks = join_all([lock(), lock()])
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        Self {
            _etcd: etcd,
            bao: bao.unwrap(),
            locks,
        }
    }

    /// Three of hostname-svc below `base`.
    pub(crate) async fn replicas(&self, base: &str) -> Vec<RunningService> {
        let urls: Vec<_> = self.locks.iter().map(RunningService::url).collect();
        let vault = Vault::of(&self.bao);
        let mut replicas = Vec::new();
        for _ in 0..3 {
            let service = vault
                .service(self.bao.address(), base, &urls.join(","))
                .await;
            replicas.push(service.start().await.unwrap());
        }
        replicas
    }
}

/// A caller.
pub(crate) fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}
