//! The store on S3: versitygw.

use std::sync::Arc;

use secrecy::SecretString;
use shared_lock_svc::store::{
    StoreError,
    register::{RegisterOptions, RegisterStore},
    s3::{Keys, S3Options, S3Register},
};
use testbed::{FaultProxy, S3, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

use crate::contract::{self, LONG, Store, gets, holds, names, release, request, waits};

const BUCKET: &str = "locks";

async fn server() -> S3 {
    let s3 = S3::start().await.unwrap();
    s3.bucket(BUCKET).await.unwrap();
    s3
}

fn replica(endpoint: &str) -> Store {
    with_secret(endpoint, "holdfast-secret")
}

fn with_secret(endpoint: &str, secret: &str) -> Store {
    let options = S3Options {
        endpoint: Some(endpoint.to_owned()),
        region: "us-east-1".to_owned(),
        bucket: BUCKET.to_owned(),
        path_style: true,
        keys: Some(Keys {
            access_key: "holdfast".to_owned(),
            secret_key: SecretString::from(secret),
        }),
        sts_endpoint: None,
        ca_file: None,
    };
    let register = Arc::new(S3Register::new(options, "locks").unwrap());
    Arc::new(RegisterStore::new(register, RegisterOptions::default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_on_s3_keeps_the_contract_of_single_locks() {
    let s3 = server().await;
    let store = replica(s3.endpoint());
    contract::check_single_locks(Arc::clone(&store)).await;
    contract::check_refusals(Arc::clone(&store)).await;
    contract::check_close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_on_one_bucket_share_the_queue() {
    let s3 = server().await;
    let (one, other) = (replica(s3.endpoint()), replica(s3.endpoint()));
    assert_eq!(
        one.token_epoch().await.unwrap(),
        other.token_epoch().await.unwrap()
    );
    let first = holds(&one, "shared", "first").await;
    let waiter = waits(&other, "shared", "second", LONG).await;
    assert_eq!(
        names(&one, "shared").await,
        (vec!["first".to_owned()], vec!["second".to_owned()])
    );
    assert!(release(&one, "shared", &first).await);
    assert!(gets(waiter).await.fencing_token > first.fencing_token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_found_and_made_once() {
    let s3 = server().await;
    let proxy = FaultProxy::start(s3.endpoint()).await.unwrap();
    let store = replica(&proxy.url());
    let mut last = holds(&store, "lost", "first").await;
    assert!(release(&store, "lost", &last).await);
    for round in 1..=3 {
        proxy.drop_answer_to("PUT /locks/locks/lost");
        let tenure = holds(&store, "lost", "next").await;
        assert_eq!(proxy.answers_dropped(), 2 * round - 1);
        assert_eq!(
            tenure.fencing_token.0.get(),
            last.fencing_token.0.get() + 1,
            "granted once"
        );
        proxy.drop_answer_to("PUT /locks/locks/lost");
        assert!(release(&store, "lost", &tenure).await);
        assert_eq!(proxy.answers_dropped(), 2 * round);
        last = tenure;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_or_silent_is_an_outage_and_no_lock_is_lost_by_it() {
    let s3 = server().await;
    let store = replica(s3.endpoint());
    let tenure = holds(&store, "away", "first").await;
    s3.pause().unwrap();
    let asked = Instant::now();
    let outcome = store.acquire(request("away", "second")).await;
    assert!(matches!(outcome, Err(StoreError::Timeout)), "{outcome:?}");
    assert!(asked.elapsed().as_secs() < 3, "{:?}", asked.elapsed());
    let asked = Instant::now();
    let outcome = store.acquire(request("away", "second")).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(asked.elapsed().as_millis() < 500, "{:?}", asked.elapsed());
    s3.resume().unwrap();
    s3.kill().unwrap();
    let asked = Instant::now();
    let outcome = store.acquire(request("away", "second")).await;
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(asked.elapsed().as_secs() < 1, "{:?}", asked.elapsed());
    s3.restart().await.unwrap();
    let answers = async || store.ready().await;
    eventually("it answers", LONG, answers).await.unwrap();
    assert!(release(&store, "away", &tenure).await);
}

/// Such servers are about: a proxy, an old versitygw, a bucket of files.
#[tokio::test]
async fn a_server_that_does_not_look_at_the_condition_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = vec![0; 16 * 1024];
                let read = socket.read(&mut head).await.unwrap();
                let missing = head[..read].starts_with(b"GET")
                    && head[..read].windows(7).any(|w| w == b"refused");
                let answer = match missing {
                    true => {
                        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    }
                    false => {
                        "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
                    }
                };
                socket.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    let outcome = replica(&endpoint).acquire(request("refused", "a")).await;
    let Err(StoreError::Refused(why)) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(why.contains("8 of 8 conditional writes win"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_told() {
    let s3 = S3::start().await.unwrap();
    let outcome = replica(s3.endpoint()).acquire(request("none", "a")).await;
    let Err(StoreError::Unavailable(why)) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(format!("{why:#}").contains("no such bucket"), "{why:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_wrong_are_told() {
    let s3 = server().await;
    let outcome = with_secret(s3.endpoint(), "wrong")
        .acquire(request("keys", "a"))
        .await;
    let Err(StoreError::Unavailable(why)) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(format!("{why:#}").contains("403"), "{why:#}");
}
