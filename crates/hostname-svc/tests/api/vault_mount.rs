//! What the service makes of the mount, of the way to log in, and of where it is kept.

use std::{fs, time::Duration};

use serde_json::json;
use testbed::{OpenBao, Scratch};

use crate::{
    app::{TestApp, lock_service, unique, wish},
    vault::{Vault, gap_free, open_bao},
};

#[tokio::test]
async fn a_mount_that_deletes_by_age_is_refused_with_the_setting_that_does_it() {
    let bao = OpenBao::start().await.unwrap();
    let vault = Vault::of(&bao);
    let aging = json!({ "delete_version_after": "720h" });
    vault.call("POST", "secret/config", aging).await;
    let locks = lock_service().await.url();
    let service = vault.service(bao.address(), "aging", locks).await;
    let app = TestApp::of(service.start_listening().await.unwrap());
    let status = app.service.process().ended().await.unwrap();
    assert_eq!(status.code(), Some(1));
    let log = app.service.logs().text();
    assert!(log.contains("(delete_version_after)"), "{log}");
    assert!(log.contains("set it to `0s`"), "{log}");
}

#[tokio::test]
async fn another_mount_base_path_and_method_serve_with_the_rights_that_are_shipped() {
    let (bao, base) = (open_bao().await, unique("deep"));
    let vault = Vault::of(bao);
    vault
        .call("POST", "sys/mounts/kv-names", json!({ "type": "kv-v2" }))
        .await;
    let mounted = testbed::eventually("the mount", Duration::from_secs(60), async || {
        let config = vault.call("GET", "kv-names/config", json!(null)).await;
        if config["data"].is_object() {
            Ok(())
        } else {
            Err(config)
        }
    });
    mounted.await.unwrap();
    let required = json!({ "cas_required": true, "max_versions": 1 });
    vault.call("POST", "kv-names/config", required).await;
    let locks = lock_service().await.url();
    let service = vault.service(bao.address(), &base, locks).await;
    // As an operator does it with sed.
    let path = format!("team/{base}");
    let policy = vault
        .shipped_policy(&path)
        .replace("\"secret/", "\"kv-names/");
    vault.put_policy(&base, &policy).await;
    let service = service
        .env("HOSTNAME_SVC_VAULT_MOUNT", "kv-names")
        .env("HOSTNAME_SVC_VAULT_BASE_PATH", &*path);
    let app = TestApp::with(service).await;
    for counter in 1..=3 {
        let (body, key) = (wish("splunk", "web", "dev"), counter.to_string());
        assert_eq!(app.allocate_with_key(&body, &key).await.counter(), counter);
    }
    assert_eq!(app.listed("").await.len(), 3);
    let record = format!("kv-names/data/{path}/hosts/sp/splunkweb1dev");
    assert_eq!(vault.read(&record).await["counter"], 1);
    let metrics = app.metrics().await;
    let ttl = metrics
        .lines()
        .find_map(|line| line.strip_prefix("hostname_vault_token_ttl_seconds "));
    let ttl: f64 = ttl.unwrap().parse().unwrap();
    assert!((1.0..=3600.0).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_token_that_ends_again_and_again_costs_no_hostname() {
    let (bao, base) = (open_bao().await, unique("short-lived"));
    let vault = Vault::of(bao);
    let locks = lock_service().await.url();
    let service = vault.service(bao.address(), &base, locks).await;
    let role = format!("auth/approle/role/{base}");
    let short = json!({ "token_ttl": "2s", "token_max_ttl": "4s" });
    vault.call("POST", &role, short).await;
    let app = TestApp::with(service).await;
    let body = wish("splunk", "web", "dev");
    let started = std::time::Instant::now();
    let mut given = 0;
    while started.elapsed() < Duration::from_secs(9) {
        given += 1;
        assert_eq!(app.allocate(&body).await.counter(), given);
    }
    gap_free(&vault, &base, given).await;
}

#[tokio::test]
async fn a_pod_without_a_service_account_is_told_which_file_is_missing() {
    let binary = testbed::build("hostname-svc").unwrap();
    let dir = Scratch::new("service-account").unwrap();
    let file = dir.path().join("token");
    let serve = |role: &str| {
        let mut command = std::process::Command::new(&binary);
        command
            .arg("serve")
            .env("HOSTNAME_SVC_LISTEN", "127.0.0.1:0")
            .env("HOSTNAME_SVC_VAULT_AUTH", "kubernetes")
            .env("HOSTNAME_SVC_VAULT_KUBERNETES_JWT_FILE", &file);
        if !role.is_empty() {
            command.env("HOSTNAME_SVC_VAULT_KUBERNETES_ROLE", role);
        }
        let output = command.output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        line
    };
    assert!(serve("").contains("HOSTNAME_SVC_VAULT_KUBERNETES_ROLE"));
    let missing = serve("pod");
    assert!(
        missing.contains("HOSTNAME_SVC_VAULT_KUBERNETES_JWT_FILE"),
        "{missing}"
    );
    assert!(missing.contains("token"), "{missing}");
    fs::write(&file, "").unwrap();
    assert!(serve("pod").contains("is empty"));
}
