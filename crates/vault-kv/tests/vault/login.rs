//! Logins, renewals, and tokens that end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::{Value, json};
use testbed::OpenBao;
use vault_kv::{Auth, Read, VaultError, VaultKv, VaultOptions};

use crate::server::{Admin, shared, timed};

async fn app_role(bao: &OpenBao, name: &str, ttl: &str, max_ttl: &str) -> VaultKv {
    let auth = Admin(bao).app_role(name, ttl, max_ttl).await;
    VaultKv::connect(VaultOptions::new(bao.address(), auth)).unwrap()
}

#[tokio::test]
async fn a_login_lasts_by_renewal_and_is_replaced_before_its_maximum_life() {
    let bao = shared().await;
    let admin = Admin(bao);
    let vault = app_role(bao, "short", "2s", "5s").await;
    let (mut tokens, mut renewed) = (BTreeSet::new(), false);
    let started = Instant::now();
    // Two whole lives: every single call succeeds, whatever happens to the token meanwhile.
    while tokens.len() < 3 || !renewed {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "tokens {tokens:?}, renewed {renewed}"
        );
        assert_eq!(vault.read::<Value>("short/a").await.unwrap(), Read::Absent);
        for token in admin.tokens_of("short").await {
            tokens.insert(token["accessor"].as_str().unwrap().to_owned());
            renewed |= token["last_renewal_time"].is_number();
        }
        assert!(vault.token_ttl().unwrap() <= Duration::from_secs(2));
    }
    assert!(
        started.elapsed() > Duration::from_secs(5),
        "renewal was not even needed"
    );
}

#[tokio::test]
async fn a_token_given_from_outside_is_renewed_too() {
    let bao = shared().await;
    let token = Admin(bao)
        .post(
            "auth/token/create",
            json!({ "ttl": "2s", "policies": ["root"] }),
        )
        .await;
    let token = SecretString::from(token["auth"]["client_token"].as_str().unwrap());
    let vault = VaultKv::connect(VaultOptions::new(bao.address(), Auth::Token(token))).unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        assert_eq!(vault.read::<Value>("given/a").await.unwrap(), Read::Absent);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_revoked_token_costs_one_login_and_no_error() {
    let bao = shared().await;
    let admin = Admin(bao);
    let vault = app_role(bao, "revoked", "1h", "1h").await;
    vault.read::<Value>("revoked/a").await.unwrap();
    let first = admin.tokens_of("revoked").await;
    admin
        .post(
            "auth/token/revoke-accessor",
            json!({ "accessor": first[0]["accessor"] }),
        )
        .await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let vault = vault.clone();
        calls.spawn(async move { vault.read::<Value>("revoked/a").await.unwrap() });
    }
    calls.join_all().await;
    assert_eq!(admin.tokens_of("revoked").await.len(), 1);
}

#[tokio::test]
async fn a_policy_that_refuses_does_not_cost_logins() {
    let bao = shared().await;
    let vault = app_role(bao, "refused", "1h", "1h").await;
    for _ in 0..20 {
        let error = vault.read::<Value>("denied/a").await.unwrap_err();
        assert!(matches!(error, VaultError::Forbidden(_)), "{error:?}");
    }
    assert_eq!(Admin(bao).tokens_of("refused").await.len(), 1);
}

#[tokio::test]
async fn a_crowd_of_first_calls_makes_one_login() {
    let bao = shared().await;
    let vault = app_role(bao, "crowd", "1h", "1h").await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let vault = vault.clone();
        calls.spawn(async move { vault.read::<Value>("crowd/a").await.unwrap() });
    }
    calls.join_all().await;
    assert_eq!(Admin(bao).tokens_of("crowd").await.len(), 1);
}

#[tokio::test]
async fn a_login_that_is_refused_is_forbidden() {
    let bao = shared().await;
    let Auth::AppRole { role_id, mount, .. } = Admin(bao).app_role("liar", "1h", "1h").await else {
        panic!()
    };
    let auth = Auth::AppRole {
        role_id,
        secret_id: "a-guess".into(),
        mount,
    };
    let vault = VaultKv::connect(VaultOptions::new(bao.address(), auth)).unwrap();
    let error = vault.write("liar/a", 0, &json!({})).await.unwrap_err();
    assert!(matches!(error, VaultError::Forbidden(_)), "{error:?}");
    assert!(error.surely_not_written());
}

#[tokio::test]
async fn a_client_that_starts_before_vault_serves_as_soon_as_vault_does() {
    let bao = OpenBao::start_raft().await.unwrap();
    let auth = Admin(&bao).app_role("early", "1h", "1h").await;
    bao.kill().unwrap();
    let vault = VaultKv::connect(VaultOptions::new(bao.address(), auth)).unwrap();
    let (answer, took) = timed(vault.write("early/a", 0, &json!({}))).await;
    let error = answer.unwrap_err();
    assert!(matches!(error, VaultError::Unavailable(_)), "{error:?}");
    assert!(
        error.surely_not_written() && took < Duration::from_secs(1),
        "{took:?}"
    );
    bao.restart().await.unwrap();
    testbed::eventually("a read", Duration::from_secs(60), async || {
        vault.read::<Value>("early/a").await
    })
    .await
    .unwrap();
}
