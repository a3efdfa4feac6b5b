//! The store `s3`: who we are to it, told by settings, files or a web identity.

use std::sync::Arc;

use serde_json::json;
use testbed::{RunningService, S3, Scratch};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use crate::{
    app::TestApp,
    stores::{native, refuses_what_spans_locks},
};

async fn server() -> S3 {
    let s3 = S3::start().await.unwrap();
    s3.bucket("team-locks").await.unwrap();
    s3
}

/// The service on `s3`, with more of an environment.
async fn start(s3: &S3, environment: &[(&str, &str)]) -> RunningService {
    let service = TestApp::service(&[
        ("STORAGE_TYPE", "s3"),
        ("S3_BUCKET", "team-locks"),
        ("S3_ENDPOINT", s3.endpoint()),
        ("S3_PATH_STYLE", "true"),
    ]);
    let service = environment
        .iter()
        .fold(service, |service, (name, value)| service.env(name, *value));
    service.start().await.unwrap()
}

fn keys(s3: &S3) -> [(&'static str, &'static str); 2] {
    [
        ("SHARED_LOCK_S3_ACCESS_KEY", s3.access_key()),
        ("SHARED_LOCK_S3_SECRET_KEY", s3.secret_key()),
    ]
}

#[tokio::test]
async fn a_store_on_s3_does_all_of_one_lock_and_says_501_to_the_rest() {
    let s3 = server().await;
    let app = Arc::new(TestApp::of(start(&s3, &keys(&s3)).await));
    native(&app).await;
    refuses_what_spans_locks(&app).await;
    let status = app.service.terminate().await.unwrap();
    assert!(status.success(), "{status:?}");
}

#[tokio::test]
async fn a_lock_outlives_the_replica_that_granted_it_and_the_next_one_goes_on() {
    let s3 = server().await;
    let first = TestApp::of(start(&s3, &keys(&s3)).await);
    let held = first.holds("job", "worker-1").await;
    first.service.kill().unwrap();
    let second = TestApp::of(start(&s3, &keys(&s3)).await);
    assert_eq!(
        second.inspect("job").await["holders"][0]["holder"],
        "worker-1"
    );
    let lease = json!({ "lease_id": held["lease_id"] });
    assert_eq!(second.keep_alive("job", lease).await.status, 200);
    second.gives_back("job", &held).await;
    let next = second.holds("job", "worker-2").await;
    let token = |body: &serde_json::Value| {
        let token = body["fencing_token"].as_str().unwrap();
        token.parse::<u64>().unwrap()
    };
    assert!(token(&next) > token(&held));
    assert_eq!(next["token_epoch"], held["token_epoch"]);
}

#[tokio::test]
async fn keys_are_found_in_the_environment_and_in_the_file_of_aws() {
    let s3 = server().await;
    let environment = [
        ("AWS_ACCESS_KEY_ID", s3.access_key()),
        ("AWS_SECRET_ACCESS_KEY", s3.secret_key()),
    ];
    TestApp::of(start(&s3, &environment).await)
        .holds("by-environment", "a")
        .await;
    let dir = Scratch::new("aws").unwrap();
    let file = dir.path().join("credentials");
    let (access, secret) = (s3.access_key(), s3.secret_key());
    let profile =
        format!("[locks]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n");
    std::fs::write(&file, profile).unwrap();
    let environment = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
        ("AWS_PROFILE", "locks"),
    ];
    TestApp::of(start(&s3, &environment).await)
        .holds("by-file", "a")
        .await;
}

/// A stand-in gives the keys, and looks at what comes with them: no service that gives keys is to be had here.
#[tokio::test]
async fn a_web_identity_is_exchanged_for_keys_that_go_with_every_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stand_in = format!("http://{}", listener.local_addr().unwrap());
    let keys = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                <AccessKeyId>the-key</AccessKeyId><SecretAccessKey>the-secret</SecretAccessKey>\
                <SessionToken>the-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
                </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    let (heard, mut calls) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 16 * 1024];
            let read = socket.read(&mut head).await.unwrap();
            let call = String::from_utf8_lossy(&head[..read]).into_owned();
            let (status, body) = match call.starts_with("POST") {
                true => ("200 OK", keys),
                false => ("404 Not Found", ""),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
            let _ = heard.send(call);
        }
    });
    let dir = Scratch::new("token").unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "the-token-of-the-pod").unwrap();
    let service = TestApp::service(&[
        ("STORAGE_TYPE", "s3"),
        ("S3_BUCKET", "team-locks"),
        ("S3_ENDPOINT", &stand_in),
        ("S3_STS_ENDPOINT", &stand_in),
        ("S3_PATH_STYLE", "true"),
    ]);
    let _service = service
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/locks")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap())
        .start()
        .await
        .unwrap();
    let exchange = calls.recv().await.unwrap();
    assert!(exchange.contains("the-token-of-the-pod"), "{exchange}");
    let call = calls.recv().await.unwrap();
    assert!(call.starts_with("GET /team-locks/locks/~epoch"), "{call}");
    assert!(call.contains("Credential=the-key/"), "{call}");
    assert!(call.contains("x-amz-security-token: the-session"), "{call}");
}
