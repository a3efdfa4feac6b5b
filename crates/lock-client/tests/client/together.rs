//! Many leases and locks renewed by one call, and what its answer says of each.

use std::time::Duration;

use lock_client::{AcquireOptions, LockGuard, Mode, SessionOptions};
use serde_json::{Value, json};

use crate::scripted::{Reply, Request, Scripted, for_ttl};

const TTL: Duration = Duration::from_millis(1_800);

/// Grants whatever is asked for, under a token and a lease of its own each.
fn granted(request: &Request, before: usize) -> Reply {
    Reply::granted(request, before as u64 + 1, TTL)
}

async fn guards(server: &Scripted, count: usize) -> Vec<LockGuard> {
    let locks = server.client();
    let mut guards = Vec::new();
    for number in 0..count {
        let key = format!("k/{number}");
        guards.push(locks.acquire(&key, for_ttl(TTL)).await.unwrap());
    }
    guards
}

/// The answer to a renewal, but for what it says of one tenure.
fn kept_but(request: &Request, key: &str, said: Value) -> Reply {
    let Reply::Answer { mut body, .. } = Reply::kept(request, TTL) else {
        unreachable!("a renewal is answered")
    };
    for lock in body["locks"].as_array_mut().unwrap() {
        if lock["key"] == key {
            lock.as_object_mut()
                .unwrap()
                .extend(said.as_object().unwrap().clone());
        }
    }
    Reply::ok(body)
}

#[tokio::test]
async fn a_hundred_guards_are_renewed_by_a_few_calls() {
    let server = Scripted::start(|request, before| match request.action.as_str() {
        "acquire" => granted(request, before),
        "keepalive" => Reply::kept(request, TTL),
        _ => Reply::released(true),
    })
    .await;
    let guards = guards(&server, 100).await;
    // What is due within a quarter of the time between two renewals goes along: four groups at most.
    let before = server.requests("keepalive").len();
    let renewed = server.wait_for("keepalive", before + 12).await;
    assert!(guards.iter().all(LockGuard::is_valid));
    assert!(
        renewed
            .iter()
            .all(|renewal| renewal.path == "/v1/keepalive")
    );
    let renewals: usize = renewed[before..]
        .iter()
        .map(|renewal| renewal.items("lease_ids").count())
        .sum();
    assert!(renewals >= 200, "{renewals} renewals by 12 calls");
}

#[tokio::test]
async fn a_session_is_renewed_once_for_all_its_locks() {
    let server = Scripted::start(|request, before| match request.action.as_str() {
        "sessions" => Reply::ok(json!({
            "session_id": "9", "ttl_ms": 1800, "remaining_ms": 1800, "elapsed_ms": 0
        })),
        "acquire" => {
            let Reply::Answer { mut body, .. } = granted(request, before) else {
                unreachable!("a grant is an answer")
            };
            body["lease_id"] = json!("9");
            Reply::ok(body)
        }
        "keepalive" => Reply::kept(request, TTL),
        _ => Reply::released(true),
    })
    .await;
    let locks = server.client();
    let session = locks.open_session(SessionOptions {
        ttl: TTL,
        ..SessionOptions::default()
    });
    let session = session.await.unwrap();
    let mut guards = Vec::new();
    for key in ["a", "b", "c"] {
        let options = AcquireOptions {
            mode: Mode::Shared,
            ..for_ttl(TTL)
        };
        guards.push(session.acquire(key, options).await.unwrap());
    }
    let renewed = server.wait_for("keepalive", 3).await;
    for renewal in &renewed[1..] {
        assert_eq!(renewal.body["lease_ids"], json!(["9"]));
        assert_eq!(renewal.items("locks").count(), 3);
    }
    // Three calls cover a whole TTL, whatever hangs on the session.
    assert!(renewed[2].at - renewed[0].at > TTL / 2);
    assert!(guards.iter().all(LockGuard::is_valid));
}

#[tokio::test]
async fn one_tenure_that_is_over_is_lost_and_the_others_of_the_call_are_not() {
    let server = Scripted::start(|request, before| match request.action.as_str() {
        "acquire" => granted(request, before),
        "keepalive" => kept_but(request, "k/1", json!({ "current": false })),
        _ => Reply::released(false),
    })
    .await;
    let guards = guards(&server, 3).await;
    guards[1].lost().await;
    server.wait_for("keepalive", 4).await;
    assert!(guards[0].is_valid() && guards[2].is_valid());
    let last = server.requests("keepalive").pop().unwrap();
    assert_eq!(last.items("lease_ids").count(), 2);
}

#[tokio::test]
async fn a_tenure_of_which_nothing_is_known_is_asked_after_again_and_lost_in_time() {
    let unknown = json!({ "current": false, "code": "store-unavailable" });
    let server = Scripted::start(move |request, before| match request.action.as_str() {
        "acquire" => granted(request, before),
        "keepalive" => kept_but(request, "k/1", unknown.clone()),
        _ => Reply::released(false),
    })
    .await;
    let guards = guards(&server, 2).await;
    let asked = server.requests("acquire")[1].at;
    guards[1].lost().await;
    assert!(asked.elapsed() > TTL / 2, "a 503 is no loss");
    assert!(asked.elapsed() < TTL, "its renewal was never confirmed");
    assert!(guards[0].is_valid());
    let about_it = |renewal: &Request| renewal.items("locks").any(|lock| lock["key"] == "k/1");
    let asked_after = server.requests("keepalive");
    assert!(asked_after.iter().filter(|one| about_it(one)).count() > 3);
}

#[tokio::test]
async fn a_renewal_that_comes_back_too_late_does_not_revive_a_guard_that_was_lost() {
    // Granted with little left, as one that stood in a queue: a renewal is slower than that.
    let server = Scripted::start(|request, before| match request.action.as_str() {
        "acquire" => granted(request, before),
        "keepalive" => Reply::After(TTL, Box::new(Reply::kept(request, TTL))),
        _ => Reply::released(false),
    })
    .await;
    let guards = guards(&server, 1).await;
    guards[0].lost().await;
    tokio::time::sleep(TTL).await;
    assert!(!guards[0].is_valid() && guards[0].remaining().is_zero());
}

#[tokio::test]
async fn keys_of_the_greatest_length_do_not_make_a_call_too_large() {
    let server = Scripted::start(|request, before| match request.action.as_str() {
        "acquire" => granted(request, before),
        "keepalive" => Reply::kept(request, TTL),
        _ => Reply::released(true),
    })
    .await;
    let locks = server.client();
    let mut guards = Vec::new();
    for number in 0..40 {
        let key = format!("{number:02}{}", "\"".repeat(1022));
        guards.push(locks.acquire(&key, for_ttl(TTL)).await.unwrap());
    }
    let renewed = server.wait_for("keepalive", 24).await;
    for renewal in &renewed {
        assert!(renewal.body.to_string().len() < 32 * 1024);
    }
    assert!(guards.iter().all(LockGuard::is_valid));
}
