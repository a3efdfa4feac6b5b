//! One contract, every store.

use std::sync::Arc;

use hostname_svc::store::{
    Child, DocumentPath, DocumentStore, Read, Write, embedded::EmbeddedStore, vault::VaultStore,
};
use secrecy::SecretString;
use serde_json::json;
use testbed::Scratch;
use vault_kv::{Auth, VaultKv, VaultOptions};

use crate::{app::unique, vault::open_bao};

#[tokio::test]
async fn the_embedded_store_keeps_the_contract() {
    let dir = Scratch::new("hostname-store").unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    keeps_the_contract(store).await;
}

#[tokio::test]
async fn the_vault_store_keeps_the_contract() {
    let bao = open_bao().await;
    let token = SecretString::from(bao.root_token());
    let vault = VaultKv::connect(VaultOptions::new(bao.address(), Auth::Token(token))).unwrap();
    keeps_the_contract(Arc::new(VaultStore::new(vault, &unique("contract")))).await;
}

#[tokio::test]
async fn the_embedded_store_is_there_again_after_it_was_closed() {
    let dir = Scratch::new("hostname-store").unwrap();
    let path = DocumentPath::new(&["a", "b"]);
    let store = EmbeddedStore::open(dir.path()).unwrap();
    store.write(&path, 0, &json!({ "n": 1 })).await.unwrap();
    assert!(
        EmbeddedStore::open(dir.path()).is_err(),
        "one process at a time"
    );
    drop(store);
    let again = testbed::eventually(
        "the directory is free",
        std::time::Duration::from_secs(60),
        async || EmbeddedStore::open(dir.path()),
    );
    let again = again.await.unwrap();
    assert_eq!(again.read(&path).await.unwrap().version(), 1);
}

async fn keeps_the_contract(store: Arc<dyn DocumentStore>) {
    store.ready().await.unwrap();
    a_document_has_the_version_of_its_last_write(&*store).await;
    of_many_writers_one_is_accepted(&store).await;
    folders_list_their_names(&*store).await;
}

async fn a_document_has_the_version_of_its_last_write(store: &dyn DocumentStore) {
    let path = DocumentPath::new(&["docs", "a"]);
    assert_eq!(store.read(&path).await.unwrap(), Read::Absent);
    let (one, two) = (
        json!({ "n": 1, "text": "é\u{1}" }),
        json!({ "n": 9_007_199_254_740_991_u64 }),
    );
    assert_eq!(store.write(&path, 1, &one).await.unwrap(), Write::Mismatch);
    assert_eq!(store.write(&path, 0, &one).await.unwrap(), Write::Written);
    assert_eq!(
        store.read(&path).await.unwrap(),
        Read::Present {
            version: 1,
            data: one.clone()
        }
    );
    assert_eq!(store.write(&path, 0, &one).await.unwrap(), Write::Mismatch);
    assert_eq!(store.write(&path, 2, &two).await.unwrap(), Write::Mismatch);
    assert_eq!(store.write(&path, 1, &two).await.unwrap(), Write::Written);
    assert_eq!(
        store.read(&path).await.unwrap(),
        Read::Present {
            version: 2,
            data: two
        }
    );
    assert_eq!(store.write(&path, 1, &one).await.unwrap(), Write::Mismatch);
}

async fn of_many_writers_one_is_accepted(store: &Arc<dyn DocumentStore>) {
    for cas in [0, 1] {
        let writers = (0..30).map(|writer| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let path = DocumentPath::new(&["docs", "race"]);
                store
                    .write(&path, cas, &json!({ "writer": writer }))
                    .await
                    .unwrap()
            })
        });
        let outcomes: Vec<_> = futures_util::future::join_all(writers.collect::<Vec<_>>()).await;
        let written = outcomes
            .iter()
            .filter(|it| *it.as_ref().unwrap() == Write::Written);
        assert_eq!(written.count(), 1, "cas {cas}");
    }
}

async fn folders_list_their_names(store: &dyn DocumentStore) {
    for path in [
        &["f", "b", "x"][..],
        &["f", "a"],
        &["f", "a", "y"],
        &["f", "a-b", "y"],
        &["f", "b", "z", "deep"],
        &["ff", "c"],
    ] {
        store
            .write(&DocumentPath::new(path), 0, &json!({}))
            .await
            .unwrap();
    }
    let document = |name: &str| Child::Document(name.to_owned());
    let folder = |name: &str| Child::Folder(name.to_owned());
    let list = async |path: &[&str]| store.list(&DocumentPath::new(path)).await.unwrap();
    assert_eq!(
        list(&["f"]).await,
        [document("a"), folder("a"), folder("a-b"), folder("b")]
    );
    assert_eq!(list(&["f", "b"]).await, [document("x"), folder("z")]);
    assert_eq!(list(&["nothing"]).await, []);
}
