//! Refusals, each told apart from the others and from "nothing there".

use serde_json::{Value, json};
use vault_kv::{Auth, Read, VaultError, VaultKv, VaultOptions, Write};

use crate::server::{Admin, root, shared, with_policy};

#[tokio::test]
async fn a_missing_mount_is_not_an_absent_secret() {
    let bao = shared().await;
    let mut options = VaultOptions::new(bao.address(), Auth::Token(bao.root_token().into()));
    options.mount = "nowhere".to_owned();
    let vault = VaultKv::connect(options).unwrap();
    for error in [
        vault.read::<Value>("a").await.unwrap_err(),
        vault.write("a", 0, &json!({})).await.unwrap_err(),
        vault.list("a").await.unwrap_err(),
        vault.mount_config().await.unwrap_err(),
    ] {
        assert!(matches!(error, VaultError::MissingMount(_)), "{error:?}");
        assert!(error.surely_not_written() && !error.is_outage());
    }
}

#[tokio::test]
async fn a_record_that_may_only_be_created_is_forbidden_to_be_written_again() {
    let bao = shared().await;
    let rules = r#"path "secret/data/records/*" { capabilities = ["create", "read"] }"#;
    let vault = with_policy(bao, "records", rules).await;
    assert_eq!(
        vault.write("records/a", 0, &json!({})).await.unwrap(),
        Write::Written { version: 1 }
    );
    for cas in [0, 1] {
        let error = vault.write("records/a", cas, &json!({})).await.unwrap_err();
        assert!(matches!(error, VaultError::Forbidden(_)), "{error:?}");
        assert!(error.surely_not_written() && !error.is_outage());
    }
    assert!(matches!(
        vault.read::<Value>("records/a").await.unwrap(),
        Read::Present(_)
    ));
    let elsewhere = vault.read::<Value>("others/a").await.unwrap_err();
    assert!(
        matches!(elsewhere, VaultError::Forbidden(_)),
        "{elsewhere:?}"
    );
}

#[tokio::test]
async fn a_token_that_vault_does_not_know_is_forbidden() {
    let bao = shared().await;
    let vault = VaultKv::connect(VaultOptions::new(
        bao.address(),
        Auth::Token("hvs.nobody".into()),
    ))
    .unwrap();
    let error = vault.read::<Value>("a").await.unwrap_err();
    assert!(matches!(error, VaultError::Forbidden(_)), "{error:?}");
}

#[tokio::test]
async fn a_used_up_quota_says_when_to_come_again() {
    let bao = shared().await;
    let admin = Admin(bao);
    admin.mount_kv("limited").await;
    let quota = json!({ "path": "limited", "rate": 1, "interval": "60s" });
    admin.post("sys/quotas/rate-limit/limited", quota).await;
    // Else Vault does not tell, and a second is assumed.
    let headers = json!({ "enable_rate_limit_response_headers": true });
    admin.post("sys/quotas/config", headers).await;
    let mut options = VaultOptions::new(bao.address(), Auth::Token(bao.root_token().into()));
    options.mount = "limited".to_owned();
    let vault = VaultKv::connect(options).unwrap();
    vault.write("a", 0, &json!({})).await.unwrap();
    for error in [
        vault.write("a", 1, &json!({})).await.unwrap_err(),
        vault.read::<Value>("a").await.unwrap_err(),
        vault.list("").await.unwrap_err(),
    ] {
        let VaultError::RateLimited { retry_after } = error else {
            panic!("{error:?}");
        };
        assert!(
            (2..=60).contains(&retry_after.as_secs()),
            "what is left of a minute: {retry_after:?}"
        );
        assert!(error.surely_not_written());
    }
}

#[tokio::test]
async fn a_secret_that_is_no_object_is_our_fault_and_not_an_outage() {
    let vault = root(shared().await);
    let error = vault
        .write("shapeless/a", 0, &json!("text"))
        .await
        .unwrap_err();
    assert!(matches!(error, VaultError::BadRequest(_)), "{error:?}");
    assert!(error.surely_not_written() && !error.is_outage());
    assert_eq!(
        vault.read::<Value>("shapeless/a").await.unwrap(),
        Read::Absent
    );
}

#[test]
fn options_that_cannot_work_are_named_and_no_secret_is_repeated() {
    let connect = |change: fn(&mut VaultOptions)| {
        let mut options = VaultOptions::new("http://127.0.0.1:8200", Auth::Token("hvs.a".into()));
        change(&mut options);
        VaultKv::connect(options).unwrap_err()
    };
    for (option, change) in [
        (
            "address",
            (|options| options.address = "127.0.0.1:8200".to_owned()) as fn(&mut VaultOptions),
        ),
        ("address", |options| {
            options.address = "ftp://127.0.0.1".to_owned()
        }),
        ("address", |options| {
            options.address = "https://example.org/vault".to_owned()
        }),
        ("address", |options| {
            options.address = "https://me:secret@example.org".to_owned()
        }),
        ("mount", |options| options.mount = String::new()),
        ("mount", |options| options.mount = "a/../b".to_owned()),
        ("namespace", |options| {
            options.namespace = Some("a\nb".to_owned())
        }),
        ("ca_file", |options| {
            options.ca_file = Some("/nowhere/ca.pem".into())
        }),
        ("ca_file", |options| {
            options.ca_file = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into())
        }),
        ("token", |options| {
            options.auth = Auth::Token("hvs.secret\n".into())
        }),
        ("token", |options| options.auth = Auth::Token("".into())),
    ] {
        let error = connect(change);
        assert_eq!(error.option, option, "{error}");
        assert!(
            !error.to_string().contains("secret\n") && !error.to_string().contains("me:secret"),
            "{error}"
        );
    }
}
