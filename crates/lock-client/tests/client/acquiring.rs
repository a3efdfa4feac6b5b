//! Asking for a lock while answers get lost, servers die, and callers change their minds.

use std::time::{Duration, Instant};

use lock_client::{AcquireOptions, ClientOptions, Error, LockClient};
use serde_json::json;
use testbed::free_port;

use crate::scripted::{Reply, Scripted, client, for_ttl};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_grant_is_a_guard_that_knows_its_token() {
    let server = Scripted::start(|request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, TTL),
        _ => Reply::released(true),
    })
    .await;
    let mut options = for_ttl(TTL);
    options
        .metadata
        .insert("job".to_owned(), "report".to_owned());
    let guard = server.client().acquire("k", options).await.unwrap();
    assert_eq!(
        (guard.key(), guard.fencing_token(), guard.token_epoch()),
        ("k", 7, "e1")
    );
    assert_eq!(guard.lease_id(), "707");
    assert!(guard.is_valid());
    // Five per cent of the TTL are given away for safety.
    assert!(
        guard.remaining() > Duration::from_secs(9)
            && guard.remaining() <= Duration::from_millis(9_500)
    );

    let request = &server.requests("acquire")[0];
    assert_eq!(request.path, "/v1/locks/k/acquire");
    let id = request.text("request_id");
    let body = json!({
        "holder": "tester", "ttl_ms": 10_000, "wait_ms": 0, "request_id": id, "metadata": { "job": "report" },
    });
    assert_eq!(request.body, body);
}

#[tokio::test]
async fn an_acquire_whose_answer_got_lost_is_ended_and_asked_again_under_a_new_id() {
    let server = Scripted::start(|request, before| match (request.action.as_str(), before) {
        ("acquire", 0) => Reply::Cut,
        ("acquire", _) => Reply::granted(request, 8, TTL),
        // The end itself is repeated until it is answered.
        ("release", 0) => Reply::Cut,
        ("release", 1) => Reply::problem(503, "store-unavailable"),
        _ => Reply::released(true),
    })
    .await;
    let guard = server.client().acquire("k", for_ttl(TTL)).await.unwrap();
    assert_eq!(guard.fencing_token(), 8);
    let (asked, ended) = (server.requests("acquire"), server.requests("release"));
    let [first, second] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert_ne!(first.text("request_id"), second.text("request_id"));
    assert_eq!(ended.len(), 3);
    for end in &ended {
        assert_eq!(end.body, json!({ "request_id": first.text("request_id") }));
        assert!(end.at < second.at);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_understood_is_a_lost_one() {
    let server = Scripted::start(|request, before| match (request.action.as_str(), before) {
        ("acquire", 0) => Reply::Answer {
            status: 201,
            retry_after: None,
            body: json!({ "welcome": "to the wifi" }),
        },
        ("acquire", 1) => Reply::Answer {
            status: 502,
            retry_after: None,
            body: json!("bad gateway"),
        },
        ("acquire", 2) => Reply::problem(500, "internal"),
        ("acquire", _) => Reply::granted(request, 9, TTL),
        _ => Reply::released(false),
    })
    .await;
    let _guard = server.client().acquire("k", for_ttl(TTL)).await.unwrap();
    let asked: Vec<_> = server
        .requests("acquire")
        .iter()
        .map(|request| request.text("request_id").to_owned())
        .collect();
    let ended: Vec<_> = server
        .requests("release")
        .iter()
        .map(|request| request.text("request_id").to_owned())
        .collect();
    assert_eq!(ended, asked[..3]);
}

#[tokio::test]
async fn a_request_that_the_service_knows_already_is_ended_too() {
    let server = Scripted::start(|request, before| match (request.action.as_str(), before) {
        ("acquire", 0) => Reply::problem(409, "request-known"),
        ("acquire", 1) => Reply::problem(410, "request-ended"),
        ("acquire", _) => Reply::granted(request, 9, TTL),
        _ => Reply::released(false),
    })
    .await;
    let _guard = server.client().acquire("k", for_ttl(TTL)).await.unwrap();
    assert_eq!(server.requests("release").len(), 2);
}

#[tokio::test]
async fn an_acquire_dropped_half_way_is_ended_by_its_id() {
    let server = Scripted::start(|request, before| match (request.action.as_str(), before) {
        ("acquire", _) => Reply::Silence,
        ("release", 0) => Reply::Cut,
        _ => Reply::released(true),
    })
    .await;
    let locks = server.client();
    let waiting = AcquireOptions {
        ttl: TTL,
        wait: Duration::from_secs(60),
        ..AcquireOptions::default()
    };
    tokio::select! {
        outcome = locks.acquire("k", waiting) => panic!("{outcome:?}"),
        _ = server.wait_for("acquire", 1) => (),
    }
    let ended = server.wait_for("release", 2).await;
    let id = server.requests("acquire")[0].text("request_id").to_owned();
    assert_eq!(ended[1].body, json!({ "request_id": id }));
}

#[tokio::test]
async fn a_lock_that_is_held_tells_by_whom() {
    let server = Scripted::start(|_, _| Reply::Answer {
        status: 409,
        retry_after: Some(3),
        body: json!({
            "code": "lock-held", "status": 409, "detail": "held", "retryable": true,
            "holder": "other", "held_ms": 1500, "remaining_ms": 8500, "queue_length": 2,
        }),
    })
    .await;
    let error = server
        .client()
        .try_acquire("k", AcquireOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "lock `k` is held by `other`");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    assert!(!error.is_outage());
    let Error::Held(held) = error else {
        panic!("{error:?}")
    };
    assert_eq!(held.held_for, Some(Duration::from_millis(1500)));
    assert_eq!(held.remaining, Some(Duration::from_millis(8500)));
    assert_eq!(held.queue_length, Some(2));
    assert_eq!(
        (
            server.requests("acquire").len(),
            server.requests("release").len()
        ),
        (1, 0)
    );
}

#[tokio::test]
async fn a_request_that_is_wrong_is_not_repeated() {
    let server = Scripted::start(|_, _| Reply::problem(422, "invalid")).await;
    let error = server
        .client()
        .acquire("k", AcquireOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Server(problem) if problem.code == "invalid"),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "the lock service answered 422 invalid: as scripted"
    );
    assert_eq!(
        (
            server.requests("acquire").len(),
            server.requests("release").len()
        ),
        (1, 0)
    );
}

#[tokio::test]
async fn a_burst_of_503_is_sat_out() {
    let server = Scripted::start(|request, before| match before {
        0..3 => Reply::problem(503, "store-unavailable"),
        _ => Reply::granted(request, 7, TTL),
    })
    .await;
    let _guard = server.client().acquire("k", for_ttl(TTL)).await.unwrap();
}

#[tokio::test]
async fn patience_with_a_service_in_trouble_ends_soon_and_its_wish_is_passed_on() {
    let endless = Scripted::start(|_, _| Reply::problem(503, "store-unavailable")).await;
    let started = Instant::now();
    let error = endless
        .client()
        .acquire("k", AcquireOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Server(problem) if problem.status == 503),
        "{error:?}"
    );
    assert!(
        error.is_outage() && started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    assert!(endless.requests("acquire").len() > 2);

    let polite = Scripted::start(|_, _| {
        let body = json!({ "code": "store-unavailable", "status": 503, "retryable": true });
        Reply::Answer {
            status: 503,
            retry_after: Some(5),
            body,
        }
    })
    .await;
    let error = polite
        .client()
        .acquire("k", AcquireOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
    assert_eq!(polite.requests("acquire").len(), 1);
}

#[tokio::test]
async fn a_dead_server_is_passed_over_and_no_longer_asked_first() {
    let dead = format!("http://127.0.0.1:{}", free_port().unwrap());
    let server = Scripted::start(|request, before| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7 + before as u64, TTL),
        _ => Reply::released(true),
    })
    .await;
    let locks = client([dead.as_str(), server.url()]);
    let started = Instant::now();
    for _ in 0..3 {
        locks
            .acquire("k", for_ttl(TTL))
            .await
            .unwrap()
            .release()
            .await
            .unwrap();
    }
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    // What was never sent needs no end.
    let released = server.requests("release");
    assert!(
        released
            .iter()
            .all(|request| request.body["request_id"].is_null()),
        "{released:?}"
    );
}

#[tokio::test]
async fn a_silent_server_is_passed_over_after_its_request_was_ended_elsewhere() {
    let silent = Scripted::start(|_, _| Reply::Silence).await;
    let server = Scripted::start(|request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, TTL),
        _ => Reply::released(true),
    })
    .await;
    let locks = client([silent.url(), server.url()]);
    let guard = locks.acquire("k", for_ttl(TTL)).await.unwrap();
    let lost = silent.requests("acquire")[0].text("request_id").to_owned();
    assert_eq!(
        server.requests("release")[0].body,
        json!({ "request_id": lost })
    );
    assert!(server.requests("release")[0].at < server.requests("acquire")[0].at);
    guard.release().await.unwrap();
}

#[tokio::test]
async fn silence_costs_the_request_timeout_and_no_more() {
    let silent = Scripted::start(|_, _| Reply::Silence).await;
    let started = Instant::now();
    let error = silent
        .client()
        .try_acquire("k", AcquireOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_falls_silent_under_a_waiter_is_found_out() {
    let silent = Scripted::start(|_, _| Reply::Silence).await;
    let waiting = AcquireOptions {
        ttl: TTL,
        wait: Duration::from_secs(60),
        ..AcquireOptions::default()
    };
    let started = Instant::now();
    let error = silent.client().acquire("k", waiting).await.unwrap_err();
    assert!(matches!(error, Error::Timeout), "{error:?}");
    // The request timeout, and the patience with which the request was tried to be ended.
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    silent.wait_for("release", 1).await;
}

#[tokio::test]
async fn a_server_with_a_queue_is_waited_for_as_long_as_it_lives() {
    let queued = Duration::from_millis(2_500);
    let server = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::After(
            queued,
            Box::new(Reply::granted_after(request, 7, TTL, queued)),
        ),
        _ => Reply::released(true),
    })
    .await;
    let locks = server.client();
    let waiting = AcquireOptions {
        ttl: TTL,
        wait: Duration::from_secs(60),
        ..AcquireOptions::default()
    };
    let (first, second) = tokio::join!(
        locks.acquire("k", waiting.clone()),
        locks.acquire("k", waiting)
    );
    let _guards = (first.unwrap(), second.unwrap());
    // Five times the request timeout; two waiters ask for a sign of life as often as one.
    assert!(
        (3..=14).contains(&server.requests("livez").len()),
        "{}",
        server.requests("livez").len()
    );
}

#[tokio::test]
async fn nobody_there_is_known_within_a_second() {
    let dead = [0, 1].map(|_| format!("http://127.0.0.1:{}", free_port().unwrap()));
    let started = Instant::now();
    let error = client(dead)
        .acquire("k", AcquireOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Transport(_)), "{error:?}");
    assert!(
        error.is_outage() && started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        !cause.contains("/v1/locks"),
        "the cause names the lock: {cause}"
    );
}

#[tokio::test]
async fn a_server_that_dies_under_a_waiter_costs_its_place_and_not_the_wait() {
    let dying = Scripted::start(|request, _| match request.action.as_str() {
        "acquire" => Reply::After(Duration::from_millis(700), Box::new(Reply::Cut)),
        _ => Reply::released(true),
    })
    .await;
    let server = Scripted::start(|request, _| match request.action.as_str() {
        "acquire" => Reply::granted(request, 7, TTL),
        _ => Reply::released(true),
    })
    .await;
    let locks = client([dying.url(), server.url()]);
    let waiting = AcquireOptions {
        ttl: TTL,
        wait: Duration::from_secs(5),
        ..AcquireOptions::default()
    };
    let _guard = locks.acquire("k", waiting).await.unwrap();
    let wait_ms = server.requests("acquire")[0].body["wait_ms"]
        .as_u64()
        .unwrap();
    assert!(
        (2_000..=4_300).contains(&wait_ms),
        "{wait_ms} of 5000 ms are left to wait"
    );
}

#[tokio::test]
async fn time_spent_in_the_queue_does_not_count_against_the_lease() {
    let short = Duration::from_secs(1);
    let queued = Duration::from_millis(1500);
    let server = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::After(
            queued,
            Box::new(Reply::granted_after(request, 7, short, queued)),
        ),
        "keepalive" => Reply::kept(request, short),
        _ => Reply::released(true),
    })
    .await;
    let waiting = AcquireOptions {
        ttl: short,
        wait: Duration::from_secs(5),
        ..AcquireOptions::default()
    };
    let guard = server.client().acquire("k", waiting).await.unwrap();
    assert!(guard.is_valid());
}

#[tokio::test]
async fn a_grant_that_arrives_after_its_lease_may_be_over_is_given_back_and_lost() {
    let short = Duration::from_millis(600);
    let server = Scripted::start(move |request, _| match request.action.as_str() {
        "acquire" => Reply::After(
            Duration::from_millis(450),
            Box::new(Reply::granted(request, 7, short)),
        ),
        _ => Reply::released(true),
    })
    .await;
    let error = server
        .client()
        .acquire("k", for_ttl(short))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    let released = server.wait_for("release", 1).await;
    assert_eq!(
        released[0].body,
        json!({ "lease_id": "707", "fencing_token": "7" })
    );
}

#[tokio::test]
async fn what_cannot_be_a_key_or_a_server_is_refused_before_anything_is_sent() {
    let server = Scripted::start(|_, _| Reply::Cut).await;
    for key in ["", "..", "a\nb"] {
        let error = server
            .client()
            .try_acquire(key, AcquireOptions::default())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::InvalidKey { .. }), "{error:?}");
    }
    assert!(server.requests("acquire").is_empty());
    for urls in [
        vec![],
        vec!["localhost:8080"],
        vec!["ftp://a"],
        vec!["http://a?b"],
        vec!["http://a", ""],
    ] {
        let error = LockClient::new(ClientOptions::new(urls.clone(), "tester")).unwrap_err();
        assert!(
            matches!(
                error,
                Error::InvalidOption {
                    option: "base_urls",
                    ..
                }
            ),
            "{urls:?}: {error:?}"
        );
    }
}
