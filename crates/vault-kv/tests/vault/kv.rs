//! Reads, check-and-set writes and deletions, as KV v2 means them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vault_kv::{Read, Secret, VaultError, Write};

use crate::server::{Admin, root, shared};

#[tokio::test]
async fn a_path_never_written_is_absent_and_takes_its_first_version() {
    let vault = root(shared().await);
    assert_eq!(vault.read::<Value>("first/a").await.unwrap(), Read::Absent);
    assert_eq!(
        vault
            .write("first/a", 0, &json!({ "value": 1 }))
            .await
            .unwrap(),
        Write::Written { version: 1 }
    );
    let secret = Secret {
        version: 1,
        data: json!({ "value": 1 }),
    };
    assert_eq!(vault.read("first/a").await.unwrap(), Read::Present(secret));
}

#[tokio::test]
async fn a_write_moves_the_version_it_names_and_no_other() {
    let vault = root(shared().await);
    for (cas, outcome) in [
        (0, Write::Written { version: 1 }),
        (0, Write::Mismatch),
        (2, Write::Mismatch),
        (u32::MAX, Write::Mismatch),
        (1, Write::Written { version: 2 }),
        (1, Write::Mismatch),
        (2, Write::Written { version: 3 }),
    ] {
        assert_eq!(
            vault
                .write("moves/a", cas, &json!({ "cas": cas }))
                .await
                .unwrap(),
            outcome,
            "cas {cas}"
        );
    }
    let Read::Present(last) = vault.read::<Value>("moves/a").await.unwrap() else {
        panic!("it is there")
    };
    assert_eq!((last.version, last.data), (3, json!({ "cas": 2 })));
}

#[tokio::test]
async fn of_thirty_writers_of_one_version_one_wins() {
    let vault = root(shared().await);
    vault
        .write("race/a", 0, &json!({ "writer": null }))
        .await
        .unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..30 {
        let vault = vault.clone();
        writers.spawn(async move {
            (
                writer,
                vault
                    .write("race/a", 1, &json!({ "writer": writer }))
                    .await
                    .unwrap(),
            )
        });
    }
    let winners: Vec<_> = writers
        .join_all()
        .await
        .into_iter()
        .filter(|(_, outcome)| *outcome != Write::Mismatch)
        .collect();
    let [(winner, Write::Written { version: 2 })] = winners[..] else {
        panic!("{winners:?}")
    };
    let secret = Secret {
        version: 2,
        data: json!({ "writer": winner }),
    };
    assert_eq!(vault.read("race/a").await.unwrap(), Read::Present(secret));
}

#[tokio::test]
async fn a_deleted_secret_is_not_absent_and_keeps_its_version() {
    let bao = shared().await;
    let vault = root(bao);
    for version in 0..2 {
        vault.write("deleted/a", version, &json!({})).await.unwrap();
    }
    Admin(bao).delete("secret/data/deleted/a").await;
    assert_eq!(
        vault.read::<Value>("deleted/a").await.unwrap(),
        Read::Deleted { version: 2 }
    );
    assert_eq!(
        vault.write("deleted/a", 0, &json!({})).await.unwrap(),
        Write::Mismatch
    );
    assert_eq!(
        vault.write("deleted/a", 2, &json!({})).await.unwrap(),
        Write::Written { version: 3 }
    );
}

#[tokio::test]
async fn a_destroyed_secret_is_not_absent_either() {
    let bao = shared().await;
    let vault = root(bao);
    vault.write("destroyed/a", 0, &json!({})).await.unwrap();
    Admin(bao)
        .post("secret/destroy/destroyed/a", json!({ "versions": [1] }))
        .await;
    assert_eq!(
        vault.read::<Value>("destroyed/a").await.unwrap(),
        Read::Deleted { version: 1 }
    );
    assert_eq!(
        vault.write("destroyed/a", 0, &json!({})).await.unwrap(),
        Write::Mismatch
    );
    assert_eq!(
        vault.write("destroyed/a", 1, &json!({})).await.unwrap(),
        Write::Written { version: 2 }
    );
}

#[tokio::test]
async fn deleting_the_metadata_is_what_makes_a_counter_start_again() {
    let bao = shared().await;
    let vault = root(bao);
    for version in 0..3 {
        vault.write("history/a", version, &json!({})).await.unwrap();
    }
    Admin(bao).delete("secret/metadata/history/a").await;
    assert_eq!(
        vault.read::<Value>("history/a").await.unwrap(),
        Read::Absent
    );
    assert_eq!(
        vault.write("history/a", 0, &json!({})).await.unwrap(),
        Write::Written { version: 1 }
    );
}

#[tokio::test]
async fn settings_made_before_the_first_write_do_not_count_as_one() {
    let bao = shared().await;
    let vault = root(bao);
    Admin(bao)
        .post(
            "secret/metadata/settings/a",
            json!({ "max_versions": 5, "cas_required": true }),
        )
        .await;
    assert_eq!(
        vault.read::<Value>("settings/a").await.unwrap(),
        Read::Absent
    );
    assert_eq!(
        vault.write("settings/a", 0, &json!({})).await.unwrap(),
        Write::Written { version: 1 }
    );
    assert_eq!(
        vault.write("settings/a", 1, &json!({})).await.unwrap(),
        Write::Written { version: 2 }
    );
}

#[tokio::test]
async fn a_listing_tells_secrets_from_folders_and_an_absent_folder_is_empty() {
    let vault = root(shared().await);
    assert_eq!(vault.list("listed").await.unwrap(), Vec::<String>::new());
    for path in ["listed/a", "listed/b", "listed/b/c"] {
        vault.write(path, 0, &json!({})).await.unwrap();
    }
    assert_eq!(vault.list("listed").await.unwrap(), ["a", "b", "b/"]);
    assert!(
        vault
            .list("")
            .await
            .unwrap()
            .contains(&"listed/".to_owned())
    );
}

#[tokio::test]
async fn a_path_means_what_it_says_or_is_refused() {
    let vault = root(shared().await);
    for name in ["odd/a b", "odd/a%2fb", "odd/a?b#c", "odd/ä", "odd/..."] {
        assert_eq!(
            vault
                .write(name, 0, &json!({ "name": name }))
                .await
                .unwrap(),
            Write::Written { version: 1 },
            "{name}"
        );
        let secret = Secret {
            version: 1,
            data: json!({ "name": name }),
        };
        assert_eq!(
            vault.read(name).await.unwrap(),
            Read::Present(secret),
            "{name}"
        );
    }
    assert_eq!(
        vault.list("odd").await.unwrap(),
        ["...", "a b", "a%2fb", "a?b#c", "ä"]
    );
    for path in ["", "odd/", "/odd", "odd//a", "odd/../moves/a", "odd/\n"] {
        let refused = vault.read::<Value>(path).await.unwrap_err();
        assert!(
            matches!(refused, VaultError::InvalidPath { .. }),
            "{path:?}: {refused:?}"
        );
        let refused = vault.write(path, 0, &json!({})).await.unwrap_err();
        assert!(
            matches!(refused, VaultError::InvalidPath { .. }),
            "{path:?}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_secret_of_another_shape_is_an_error_that_says_so() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Counter {
        value: u64,
    }
    let vault = root(shared().await);
    vault
        .write("shapes/a", 0, &Counter { value: 7 })
        .await
        .unwrap();
    let Read::Present(secret) = vault.read::<Counter>("shapes/a").await.unwrap() else {
        panic!("it is there")
    };
    assert_eq!(secret.data.value, 7);
    vault
        .write("shapes/b", 0, &json!({ "value": "seven" }))
        .await
        .unwrap();
    let error = vault.read::<Counter>("shapes/b").await.unwrap_err();
    assert!(matches!(error, VaultError::Data(_)), "{error:?}");
    assert!(error.surely_not_written());
}

#[tokio::test]
async fn a_mount_tells_whether_it_lets_secrets_grow_old() {
    let bao = shared().await;
    let plain = root(bao).mount_config().await.unwrap();
    assert!(!plain.deletes_by_age(), "{plain:?}");

    let admin = Admin(bao);
    admin.mount_kv("aging").await;
    let settings =
        json!({ "delete_version_after": "30s", "cas_required": true, "max_versions": 3 });
    admin.post("aging/config", settings).await;
    let mut options = vault_kv::VaultOptions::new(
        bao.address(),
        vault_kv::Auth::Token(bao.root_token().into()),
    );
    options.mount = "aging".to_owned();
    let vault = vault_kv::VaultKv::connect(options).unwrap();
    let aging = vault.mount_config().await.unwrap();
    assert!(aging.deletes_by_age() && aging.cas_required, "{aging:?}");
    assert_eq!(aging.max_versions, 3);
    assert_eq!(
        vault.write("a", 0, &json!({})).await.unwrap(),
        Write::Written { version: 1 }
    );
}

#[tokio::test]
async fn a_namespace_is_a_world_of_its_own() {
    let bao = shared().await;
    let admin = Admin(bao);
    admin.post("sys/namespaces/team", json!({})).await;
    admin.mount_kv_in("team/", "secret").await;
    let mut options = vault_kv::VaultOptions::new(
        bao.address(),
        vault_kv::Auth::Token(bao.root_token().into()),
    );
    options.namespace = Some("team".to_owned());
    let team = vault_kv::VaultKv::connect(options).unwrap();
    assert_eq!(
        team.write("world/a", 0, &json!({})).await.unwrap(),
        Write::Written { version: 1 }
    );
    assert_eq!(
        root(bao).read::<Value>("world/a").await.unwrap(),
        Read::Absent
    );
    assert!(team.health().await.unwrap().is_usable());
}
