//! OpenBao in dev mode and on raft storage.

use serde_json::{Value, json};
use testbed::OpenBao;

async fn write(bao: &OpenBao, path: &str, value: &str) -> u16 {
    let url = format!("{}/v1/secret/data/{path}", bao.address());
    let body = json!({ "data": { "value": value } });
    let request = reqwest::Client::new()
        .post(url)
        .header("x-vault-token", bao.root_token())
        .json(&body);
    request.send().await.unwrap().status().as_u16()
}

async fn read(bao: &OpenBao, path: &str) -> Value {
    let url = format!("{}/v1/secret/data/{path}", bao.address());
    let request = reqwest::Client::new()
        .get(url)
        .header("x-vault-token", bao.root_token());
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["data"]["data"]["value"].clone()
}

#[tokio::test]
async fn dev_mode_serves_kv_version_2_and_refuses_while_it_is_sealed() {
    let bao = OpenBao::start().await.unwrap();
    assert_eq!(write(&bao, "a", "1").await, 200);
    bao.seal().await.unwrap();
    assert_eq!(write(&bao, "a", "2").await, 503);
    bao.unseal().await.unwrap();
    assert_eq!(read(&bao, "a").await, "1");
}

#[tokio::test]
async fn raft_storage_keeps_what_was_written_before_the_kill() {
    let bao = OpenBao::start_raft().await.unwrap();
    assert_eq!(write(&bao, "a", "1").await, 200);
    bao.kill().unwrap();
    bao.restart().await.unwrap();
    assert_eq!(read(&bao, "a").await, "1");
    bao.seal().await.unwrap();
    assert_eq!(write(&bao, "a", "2").await, 503);
    bao.unseal().await.unwrap();
    assert_eq!(write(&bao, "a", "2").await, 200);
}
