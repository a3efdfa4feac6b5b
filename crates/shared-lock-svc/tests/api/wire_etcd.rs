//! The tentens-tech/shared-lock wire on a real etcd: what it leaves there, byte for byte, and what it
//! makes of what others left there.

use etcd_client::{Client, GetOptions, PutOptions};
use serde_json::json;
use testbed::Etcd;

use crate::app::{Raw, TestApp};

const HOLDERS: &str = "/shared-lock/";

/// Another client of the same etcd.
struct Peer(Client);

impl Peer {
    async fn of(etcd: &Etcd) -> Self {
        Self(Client::connect([etcd.endpoint()], None).await.unwrap())
    }

    /// The holder keys: key, value, lease.
    async fn holders(&mut self) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
        let all = GetOptions::new().with_prefix();
        let found = self.0.get(HOLDERS, Some(all)).await.unwrap();
        let row = |kv: &etcd_client::KeyValue| (kv.key().to_vec(), kv.value().to_vec(), kv.lease());
        found.kvs().iter().map(row).collect()
    }

    async fn put(&mut self, key: &str, lease: i64) {
        let options = PutOptions::new().with_lease(lease);
        let key = format!("{HOLDERS}{key}");
        self.0.put(key, "by hand", Some(options)).await.unwrap();
    }

    async fn granted(&mut self, lease: i64) -> i64 {
        let life = self.0.lease_time_to_live(lease, None).await.unwrap();
        life.granted_ttl()
    }
}

fn id(answer: &Raw) -> i64 {
    answer.body.parse().unwrap()
}

#[tokio::test]
async fn a_lease_leaves_the_documented_key_with_the_bytes_of_its_value() {
    let (etcd, app) = TestApp::on_etcd(&[]).await;
    let mut peer = Peer::of(&etcd).await;
    let large = "v".repeat(100_000);
    for (body, key, value) in [
        (r#"{"key":"jobs","value":"me"}"#, "jobs", "me"),
        ("{}", "", ""),
        (r#"{"key":"no value"}"#, "no value", ""),
        (r#"{"key":"null value","value":null}"#, "null value", ""),
        (
            r#"{"key":"/a//b/../c/","value":"{\"x\":1}"}"#,
            "/a//b/../c/",
            "{\"x\":1}",
        ),
        (r#"{"key":"lines","value":"a\nb\t"}"#, "lines", "a\nb\t"),
        (
            r#"{"key":"\u0000ä\ud83d\ude00","value":"\u0000ä"}"#,
            "\0ä😀",
            "\0ä",
        ),
        (r#"{"key":"half \ud83d"}"#, "half \u{fffd}", ""),
        (
            r#"{"KEY":"labels","value":"v","labels":{"app":"x"},"timestamp":"2026-11-23T12:00:00Z"}"#,
            "labels",
            "v",
        ),
        (
            &format!(r#"{{"key":"large","value":"{large}"}}"#),
            "large",
            &large,
        ),
    ] {
        let answer = app.lease("x-lease-ttl: 60s\r\n", body).await;
        assert_eq!(answer.status, 201, "{key}: {answer:?}");
        let row = (
            format!("{HOLDERS}{key}").into_bytes(),
            value.as_bytes().to_vec(),
            id(&answer),
        );
        let holders = peer.holders().await;
        assert!(holders.contains(&row), "{key}: {holders:?}");
        let again = app.lease("", body).await;
        assert_eq!((again.status, again.body), (202, answer.body), "{key}");
    }
    assert_eq!(peer.holders().await.len(), 10, "and no other key");
}

#[tokio::test]
async fn a_lease_lives_in_etcd_as_long_as_the_answer_says() {
    let (etcd, app) = TestApp::on_etcd(&[]).await;
    let mut peer = Peer::of(&etcd).await;
    for (header, granted) in [
        ("", 10),
        ("x-lease-ttl: 60s\r\n", 60),
        ("x-lease-ttl: 1h30m\r\n", 5400),
        ("x-lease-ttl: 3.9s\r\n", 3),
        ("x-lease-ttl: 500ms\r\n", 2),
        ("x-lease-ttl: -5s\r\n", 2),
        ("x-lease-ttl: 60\r\n", 10),
        ("x-lease-ttl: 2500000h\r\n", 9_000_000_000),
    ] {
        let body = json!({ "key": header }).to_string();
        let answer = app.lease(header, body).await;
        assert_eq!(answer.status, 201, "{header}: {answer:?}");
        let told = answer.header("x-lease-ttl-granted").unwrap();
        assert_eq!(told, format!("{granted}s"), "{header}");
        assert_eq!(peer.granted(id(&answer)).await, granted, "{header}");
    }
    let absurd = app
        .lease("x-lease-ttl: 2500001h\r\n", r#"{"key":"absurd"}"#)
        .await;
    assert_eq!((absurd.status, &*absurd.body), (500, ""));
    assert_eq!(absurd.header("content-length"), Some("0"));
}

/// What the original server and other clients of etcd put there is respected.
#[tokio::test]
async fn keys_of_others_are_held_and_their_leases_are_kept_alive() {
    let (etcd, app) = TestApp::on_etcd(&[]).await;
    let mut peer = Peer::of(&etcd).await;
    let lease = peer.0.lease_grant(60, None).await.unwrap().id();
    peer.put("leased", lease).await;
    peer.put("for ever", 0).await;

    let leased = app.lease("", r#"{"key":"leased","value":"me"}"#).await;
    assert_eq!((leased.status, id(&leased)), (202, lease));
    assert_eq!(leased.header("x-lock-holder"), None, "nobody knows");
    let for_ever = app.lease("", r#"{"key":"for ever"}"#).await;
    assert_eq!((for_ever.status, &*for_ever.body), (202, "0"));
    let row = |key: &str, lease| {
        let key = format!("{HOLDERS}{key}").into_bytes();
        (key, b"by hand".to_vec(), lease)
    };
    assert_eq!(
        peer.holders().await,
        [row("for ever", 0), row("leased", lease)]
    );

    assert_eq!(app.prolong(lease.to_string()).await.status, 200);
    peer.0.lease_revoke(lease).await.unwrap();
    assert_eq!(app.prolong(lease.to_string()).await.status, 204);
    let free = app.lease("", r#"{"key":"leased","value":"me"}"#).await;
    assert_eq!(free.status, 201);
}

/// The original leaks a lease whenever it loses.
#[tokio::test]
async fn a_lost_race_leaves_no_lease_behind() {
    let (etcd, app) = TestApp::on_etcd(&[]).await;
    let mut peer = Peer::of(&etcd).await;
    peer.put("for ever", 0).await;
    let asks = (0..20).map(|_| app.lease("x-lease-ttl: 77s\r\n", r#"{"key":"race"}"#));
    let answers = futures_util::future::join_all(asks).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1);
    for _ in 0..5 {
        app.lease("x-lease-ttl: 77s\r\n", r#"{"key":"for ever"}"#)
            .await;
    }
    // Pooled leases of the replica may be there; none that a loser was granted may stay in use.
    let status = app.service.terminate().await.unwrap();
    assert!(status.success());
    let mut left = Vec::new();
    for lease in peer.0.leases().await.unwrap().leases() {
        if peer.granted(lease.id()).await == 77 {
            left.push(lease.id());
        }
    }
    let holder = id(answers.iter().find(|answer| answer.status == 201).unwrap());
    assert_eq!(left, [holder]);
}

#[tokio::test]
async fn the_holder_is_told_to_whoever_reads_headers() {
    TestApp::on_each_store(async |app| {
        for (value, holder) in [
            ("web-1", Some("web-1")),
            ("ä 100%", Some("%C3%A4 100%25")),
            ("no\nholder", Some("unnamed")),
            ("", Some("unnamed")),
        ] {
            let body = json!({ "key": value, "value": value }).to_string();
            let created = app.lease("", &body).await;
            assert_eq!(
                (created.status, created.header("x-lock-holder")),
                (201, holder)
            );
            let accepted = app.lease("", &body).await;
            assert_eq!(
                (accepted.status, accepted.header("x-lock-holder")),
                (202, holder)
            );
            assert_eq!(accepted.header("x-fencing-token"), None);
        }
        app.holds("native", "me").await;
        let accepted = app.lease("", r#"{"key":"native"}"#).await;
        assert_eq!(accepted.header("x-lock-holder"), Some("me"));
    })
    .await;
}
