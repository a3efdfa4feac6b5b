//! etcd, one node and three.

use std::{path::Path, process::Command, time::Duration};

use testbed::{Etcd, EtcdCluster, eventually};

async fn put(endpoint: &str, key: &str, value: &str) -> anyhow::Result<()> {
    call(endpoint, "put", &[("key", key), ("value", value)])
        .await
        .map(drop)
}

async fn get(endpoint: &str, key: &str) -> anyhow::Result<String> {
    let answer = call(endpoint, "range", &[("key", key)]).await?;
    Ok(answer["kvs"][0]["value"]
        .as_str()
        .unwrap_or("none")
        .to_owned())
}

/// etcd's JSON gateway; keys and values are base64 already.
async fn call(
    endpoint: &str,
    verb: &str,
    fields: &[(&str, &str)],
) -> anyhow::Result<serde_json::Value> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()?;
    let fields: serde_json::Map<_, _> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    let answer = client
        .post(format!("{endpoint}/v3/kv/{verb}"))
        .json(&fields)
        .send()
        .await?;
    Ok(answer.error_for_status()?.json().await?)
}

#[tokio::test]
async fn a_killed_etcd_comes_back_with_what_it_had_acknowledged() {
    let etcd = Etcd::start().await.unwrap();
    put(etcd.endpoint(), "Zm9v", "YmFy").await.unwrap();
    etcd.kill().unwrap();
    assert!(put(etcd.endpoint(), "Zm9v", "YmF6").await.is_err());
    etcd.restart().await.unwrap();
    assert_eq!(get(etcd.endpoint(), "Zm9v").await.unwrap(), "YmFy");
}

#[tokio::test]
async fn a_paused_etcd_is_silent_until_it_is_resumed() {
    let etcd = Etcd::start().await.unwrap();
    etcd.pause().unwrap();
    let late = tokio::time::timeout(Duration::from_millis(300), get(etcd.endpoint(), "Zm9v")).await;
    assert!(late.is_err(), "a stopped process answered");
    etcd.resume().unwrap();
    assert_eq!(get(etcd.endpoint(), "Zm9v").await.unwrap(), "none");
}

#[tokio::test]
async fn three_nodes_choose_another_leader_when_theirs_is_killed() {
    let cluster = EtcdCluster::start(3).await.unwrap();
    let leader = cluster.leader().await.unwrap();
    cluster.nodes()[leader].kill().unwrap();
    let next = eventually(
        "a second leader",
        Duration::from_secs(60),
        async || match cluster.leader().await {
            Ok(next) if next != leader => Ok(next),
            Ok(_) => Err(anyhow::anyhow!("still the first")),
            Err(error) => Err(error),
        },
    );
    let next = next.await.unwrap();
    put(cluster.endpoints()[next], "Zm9v", "YmFy")
        .await
        .unwrap();
    cluster.nodes()[leader].restart().await.unwrap();
    assert_eq!(
        get(cluster.endpoints()[leader], "Zm9v").await.unwrap(),
        "YmFy"
    );
}

#[tokio::test]
async fn a_dropped_etcd_leaves_no_process_and_no_directory() {
    let etcd = Etcd::start().await.unwrap();
    let pid = etcd.process().pid();
    let arguments = Command::new("ps")
        .args(["-o", "args=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let arguments = String::from_utf8(arguments.stdout).unwrap();
    let data = arguments
        .split_whitespace()
        .skip_while(|word| *word != "--data-dir")
        .nth(1)
        .unwrap();
    assert!(Path::new(data).is_dir());
    drop(etcd);
    assert!(!Path::new(data).exists());
    assert!(!super::processes::runs(pid));
}
