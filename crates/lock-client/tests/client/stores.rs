//! The client against stores that know less than etcd does.

use std::time::Duration;

use testbed::{OpenBao, Service};

use crate::service::{client, eventually_free, waiting};

#[tokio::test]
async fn guards_outlive_their_ttl_on_a_store_that_knows_no_lease_without_its_lock() {
    let bao = OpenBao::start().await.unwrap();
    let service = Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "vault")
        .env("SHARED_LOCK_VAULT_ADDR", bao.address())
        .env("SHARED_LOCK_VAULT_TOKEN", bao.root_token())
        .start()
        .await
        .unwrap();
    let ann = client(service.url(), "ann");
    let ttl = Duration::from_secs(4);
    let acquired = ["vault/1", "vault/2"].map(|key| ann.acquire(key, waiting(ttl, ttl)));
    let mut guards = futures_util::future::try_join_all(acquired).await.unwrap();
    let (forced, kept) = (guards.remove(1), guards.remove(0));
    tokio::time::sleep(ttl * 2).await;
    assert!(kept.is_valid() && forced.is_valid());
    ann.force_release(forced.key(), "a test").await.unwrap();
    tokio::time::timeout(ttl, forced.lost()).await.unwrap();
    assert!(kept.is_valid() && kept.verify().await.unwrap());
    kept.release().await.unwrap();
    eventually_free(&service, "vault%2F1").await;
}
