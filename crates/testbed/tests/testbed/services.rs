//! Our services as processes of their own.

use testbed::{Service, free_port};

#[tokio::test]
async fn a_killed_service_comes_back_on_its_port_with_its_data() {
    let messages = Service::new("message-hash-svc").start().await.unwrap();
    let client = reqwest::Client::new();
    let url = messages.url().to_owned();
    let stored = client
        .post(format!("{url}/messages"))
        .json(&serde_json::json!({ "message": "foo" }))
        .send()
        .await;
    assert_eq!(stored.unwrap().status(), 200);
    let first = messages.pid();
    messages.kill().unwrap();
    messages.restart().await.unwrap();
    assert_ne!(messages.pid(), first);
    assert_eq!(messages.url(), url);
    let digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let read = client
        .get(format!("{url}/messages/{digest}"))
        .send()
        .await
        .unwrap();
    assert!(read.text().await.unwrap().contains("foo"));
    assert!(messages.terminate().await.unwrap().success());
}

#[tokio::test]
async fn a_service_that_refuses_its_settings_fails_the_test_with_what_it_said() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", free_port().unwrap())).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let service = Service::new("message-hash-svc").env("MESSAGE_HASH_LISTEN", &address);
    let error = service.start().await.err().unwrap().to_string();
    let told = format!("setting listen (MESSAGE_HASH_LISTEN): cannot listen on {address}");
    assert!(
        error.contains("exit status: 2") && error.contains(&told),
        "{error}"
    );
}

#[tokio::test]
async fn a_name_that_is_no_service_is_told() {
    let error = Service::new("message-hush-svc")
        .start()
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("message-hush-svc"), "{error}");
}
