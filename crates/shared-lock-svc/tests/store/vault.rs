//! The store on Vault: OpenBao.

use std::sync::Arc;

use secrecy::SecretString;
use shared_lock_svc::store::{
    StoreError,
    register::{RegisterOptions, RegisterStore},
    vault::VaultRegister,
};
use testbed::{OpenBao, eventually};
use tokio::time::Instant;
use vault_kv::{Auth, VaultKv, VaultOptions};

use crate::contract::{self, LONG, Store, gets, holds, names, release, request, waits};

fn replica(bao: &OpenBao) -> Store {
    let token = Auth::Token(SecretString::from(bao.root_token()));
    let vault = VaultKv::connect(VaultOptions::new(bao.address(), token)).unwrap();
    let register = Arc::new(VaultRegister::new(vault, "locks"));
    Arc::new(RegisterStore::new(register, RegisterOptions::default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_on_vault_keeps_the_contract_of_single_locks() {
    let bao = OpenBao::start().await.unwrap();
    let store = replica(&bao);
    contract::check_single_locks(Arc::clone(&store)).await;
    contract::check_refusals(Arc::clone(&store)).await;
    contract::check_close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_on_one_vault_share_the_queue() {
    let bao = OpenBao::start().await.unwrap();
    let (one, other) = (replica(&bao), replica(&bao));
    assert_eq!(
        one.token_epoch().await.unwrap(),
        other.token_epoch().await.unwrap()
    );
    let first = holds(&one, "shared", "first").await;
    let waiter = waits(&other, "shared", "second", LONG).await;
    assert_eq!(
        names(&one, "shared").await,
        (vec!["first".to_owned()], vec!["second".to_owned()])
    );
    assert!(release(&one, "shared", &first).await);
    assert!(gets(waiter).await.fencing_token > first.fencing_token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_vault_is_an_outage_and_no_lock_is_lost_by_it() {
    let bao = OpenBao::start().await.unwrap();
    let store = replica(&bao);
    let tenure = holds(&store, "sealed", "first").await;
    bao.seal().await.unwrap();
    let asked = Instant::now();
    let outcome = store.acquire(request("sealed", "second")).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(store.ready().await.is_err());
    assert!(asked.elapsed().as_secs() < 1, "{:?}", asked.elapsed());
    bao.unseal().await.unwrap();
    let unsealed = async || store.ready().await.map_err(anyhow::Error::new);
    eventually("it answers", LONG, unsealed).await.unwrap();
    assert!(release(&store, "sealed", &tenure).await);
}
