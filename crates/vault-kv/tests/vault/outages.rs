//! Vault sealed, silent, gone, or cut off in the middle of a write.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{FaultProxy, OpenBao, free_port};
use vault_kv::{Auth, Health, Read, Secret, VaultError, VaultKv, VaultOptions, Write};

use crate::server::{Admin, root, shared, timed};

/// The operation timeout is 2 s by default; the rest is a machine with little time, and far from a hang.
const SILENCE_IS_OVER: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_sealed_vault_says_so_at_once_and_serves_again_when_unsealed() {
    let bao = OpenBao::start().await.unwrap();
    let vault = root(&bao);
    assert_eq!(
        vault.write("sealed/a", 0, &json!({})).await.unwrap(),
        Write::Written { version: 1 }
    );
    assert_eq!(vault.health().await.unwrap(), Health::Active);

    bao.seal().await.unwrap();
    assert_eq!(vault.health().await.unwrap(), Health::Sealed);
    let (answer, took) = timed(vault.write("sealed/a", 1, &json!({}))).await;
    let error = answer.unwrap_err();
    assert!(matches!(error, VaultError::Sealed), "{error:?}");
    assert!(
        error.surely_not_written() && error.is_outage() && took < Duration::from_secs(1),
        "{took:?}"
    );
    assert!(matches!(
        vault.read::<Value>("sealed/a").await.unwrap_err(),
        VaultError::Sealed
    ));

    bao.unseal().await.unwrap();
    assert_eq!(vault.health().await.unwrap(), Health::Active);
    assert_eq!(
        vault.write("sealed/a", 1, &json!({})).await.unwrap(),
        Write::Written { version: 2 }
    );
}

#[tokio::test]
async fn a_sealed_vault_is_not_a_login_that_fails() {
    let bao = OpenBao::start().await.unwrap();
    let auth = Admin(&bao).app_role("patient", "1h", "1h").await;
    bao.seal().await.unwrap();
    let vault = VaultKv::connect(VaultOptions::new(bao.address(), auth)).unwrap();
    assert!(matches!(
        vault.read::<Value>("a").await.unwrap_err(),
        VaultError::Sealed
    ));
    bao.unseal().await.unwrap();
    assert_eq!(vault.read::<Value>("a").await.unwrap(), Read::Absent);
}

/// The signal takes a moment to stop the last thread.
async fn pause(bao: &OpenBao, vault: &VaultKv) {
    bao.pause().unwrap();
    testbed::eventually(
        "it is silent",
        Duration::from_secs(60),
        async || match vault.health().await {
            Ok(health) => Err(format!("{health:?}")),
            Err(_) => Ok(()),
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_silent_vault_costs_the_operation_timeout_and_leaves_a_write_unknown() {
    let bao = OpenBao::start().await.unwrap();
    let vault = root(&bao);
    assert_eq!(vault.read::<Value>("silent/a").await.unwrap(), Read::Absent);

    let nothing = json!({});
    pause(&bao, &vault).await;
    let ((write, took), (read, _), health) = tokio::join!(
        timed(vault.write("silent/a", 0, &nothing)),
        timed(vault.read::<Value>("silent/a")),
        vault.health(),
    );
    let error = write.unwrap_err();
    assert!(matches!(error, VaultError::Unknown { .. }), "{error:?}");
    assert!(!error.surely_not_written() && error.is_outage());
    assert!(took < SILENCE_IS_OVER, "{took:?}");
    assert!(matches!(read.unwrap_err(), VaultError::Unknown { .. }));
    assert!(matches!(health.unwrap_err(), VaultError::Unavailable(_)));

    bao.resume().unwrap();
    // The same write again decides: it is the first, or the one that got no answer was.
    assert!(matches!(
        vault.write("silent/a", 0, &json!({})).await,
        Ok(Write::Written { version: 1 } | Write::Mismatch)
    ));
}

#[tokio::test]
async fn a_crowd_that_waits_for_a_login_is_told_together() {
    let bao = OpenBao::start().await.unwrap();
    let auth = Admin(&bao).app_role("crowd", "1h", "1h").await;
    pause(&bao, &root(&bao)).await;
    let vault = VaultKv::connect(VaultOptions::new(bao.address(), auth)).unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let vault = vault.clone();
        calls.spawn(async move { timed(vault.write("crowd/a", 0, &json!({}))).await });
    }
    for (answer, took) in calls.join_all().await {
        let error = answer.unwrap_err();
        assert!(matches!(error, VaultError::Unavailable(_)), "{error:?}");
        assert!(
            error.surely_not_written() && took < SILENCE_IS_OVER,
            "{took:?}"
        );
    }
    bao.resume().unwrap();
    assert_eq!(vault.read::<Value>("crowd/a").await.unwrap(), Read::Absent);
}

#[tokio::test]
async fn a_dead_address_is_known_within_a_second() {
    let address = format!("http://127.0.0.1:{}", free_port().unwrap());
    let vault = VaultKv::connect(VaultOptions::new(address, Auth::Token("root".into()))).unwrap();
    let (answer, took) = timed(vault.write("dead/a", 0, &json!({}))).await;
    let error = answer.unwrap_err();
    assert!(matches!(error, VaultError::Unavailable(_)), "{error:?}");
    assert!(
        error.surely_not_written() && took < Duration::from_secs(1),
        "{took:?}"
    );
    assert!(matches!(
        vault.health().await.unwrap_err(),
        VaultError::Unavailable(_)
    ));
}

#[tokio::test]
async fn a_write_whose_answer_got_lost_is_unknown_and_the_same_write_again_tells() {
    let bao = shared().await;
    let proxy = FaultProxy::start(bao.address()).await.unwrap();
    let token = Auth::Token(bao.root_token().into());
    let vault = VaultKv::connect(VaultOptions::new(proxy.url(), token)).unwrap();
    assert_eq!(vault.read::<Value>("lost/a").await.unwrap(), Read::Absent);

    proxy.drop_answer_to("POST /v1/secret/data/lost/a");
    let error = vault
        .write("lost/a", 0, &json!({ "by": "me" }))
        .await
        .unwrap_err();
    assert!(matches!(error, VaultError::Unknown { .. }), "{error:?}");
    assert!(!error.surely_not_written());

    assert_eq!(
        vault
            .write("lost/a", 0, &json!({ "by": "me" }))
            .await
            .unwrap(),
        Write::Mismatch
    );
    let secret = Secret {
        version: 1,
        data: json!({ "by": "me" }),
    };
    assert_eq!(vault.read("lost/a").await.unwrap(), Read::Present(secret));
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_silence() {
    let bao = shared().await;
    let proxy = FaultProxy::start(bao.address()).await.unwrap();
    let token = Auth::Token(bao.root_token().into());
    let vault = VaultKv::connect(VaultOptions::new(proxy.url(), token)).unwrap();
    assert_eq!(
        vault.read::<Value>("swallowed/a").await.unwrap(),
        Read::Absent
    );
    proxy.silent().await.unwrap();
    let (answer, took) = timed(vault.write("swallowed/a", 0, &json!({}))).await;
    let error = answer.unwrap_err();
    assert!(matches!(error, VaultError::Unknown { .. }), "{error:?}");
    assert!(took < SILENCE_IS_OVER, "{took:?}");
    proxy.pass().await.unwrap();
    // A connection that lost bytes breaks once more; the same write again is safe whatever happens.
    testbed::eventually("the same write", Duration::from_secs(60), async || {
        vault.write("swallowed/a", 0, &json!({})).await
    })
    .await
    .unwrap();
    let Read::Present(secret) = vault.read::<Value>("swallowed/a").await.unwrap() else {
        panic!("it is there")
    };
    assert_eq!(secret.version, 1);
}
