//! Several replicas, each a process of its own; nothing but etcd connects them.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use testbed::{Etcd, EtcdCluster, eventually};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::app::{Answer, TestApp};

const SOON: Duration = Duration::from_secs(10);

/// Three replicas on these members.
async fn three(endpoints: &str) -> [Arc<TestApp>; 3] {
    let store = [("STORAGE_TYPE", "etcd"), ("ETCD_ADDR_LIST", endpoints)];
    let start = || TestApp::with(&store);
    let (a, b, c) = tokio::join!(start(), start(), start());
    [a, b, c].map(Arc::new)
}

/// Stands in the queue of `key`, and lives for `ttl_ms` once it holds.
fn waits(app: &Arc<TestApp>, key: &'static str, place: usize, ttl_ms: u64) -> JoinHandle<Answer> {
    let app = Arc::clone(app);
    let wish = json!({
        "holder": format!("waiter {place}"), "ttl_ms": ttl_ms, "wait_ms": 120_000,
    });
    tokio::spawn(async move { app.acquire(key, wish).await })
}

/// A client that waits for `jobs` at a replica that is about to be killed, and so hears no answer.
async fn waits_and_dies(app: &TestApp, holder: &str, ttl_ms: u128) -> TcpStream {
    let body = json!({ "holder": holder, "ttl_ms": ttl_ms, "wait_ms": 120_000 }).to_string();
    let mut connection = app.connect().await;
    let request = format!(
        "POST /v1/locks/jobs/acquire HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}

/// Who waits now holds.
async fn is_served(waiter: JoinHandle<Answer>) -> Value {
    let answer = timeout(SOON, waiter).await.unwrap().unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

fn token(tenure: &Value) -> u64 {
    tenure["fencing_token"].as_str().unwrap().parse().unwrap()
}

/// Gives the lock back, however often it has to ask.
async fn gives_back_at_last(app: &TestApp, key: &str, tenure: &Value) {
    let claim = json!({ "lease_id": tenure["lease_id"], "fencing_token": tenure["fencing_token"] });
    eventually("the release is answered", SOON, async || {
        let answer = app.release(key, claim.clone()).await;
        match answer.status.as_u16() {
            200 => Ok(()),
            _ => Err(format!("{answer:?}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_waiters_at_three_replicas_are_all_served_in_the_order_of_arrival() {
    let etcd = Etcd::start().await.unwrap();
    let replicas = three(etcd.endpoint()).await;
    let mut tenure = replicas[0].holds("jobs", "first").await;
    let mut waiters = Vec::new();
    for place in 0..100 {
        waiters.push(waits(&replicas[place % 3], "jobs", place, 60_000));
        replicas[0].queue_is("jobs", place + 1, SOON).await;
    }
    for (place, waiter) in waiters.into_iter().enumerate() {
        // Each release comes to another replica than the one where the next waits.
        replicas[(place + 1) % 3].gives_back("jobs", &tenure).await;
        let next = is_served(waiter).await;
        assert_eq!(next["holder"], format!("waiter {place}"));
        assert!(token(&next) > token(&tenure), "{next} after {tenure}");
        tenure = next;
    }
    replicas[1].gives_back("jobs", &tenure).await;
    let view = replicas[2].inspect("jobs").await;
    assert_eq!(
        (&view["holders"], &view["waiters"]),
        (&json!([]), &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_replica_is_killed_goes_on_at_another_and_its_waiters_too() {
    let etcd = Etcd::start().await.unwrap();
    let [dies, here, there] = three(etcd.endpoint()).await;
    let tenure = dies.holds("jobs", "first").await;
    let mut waiters = Vec::new();
    for (place, app) in [&here, &there].into_iter().enumerate() {
        waiters.push(waits(app, "jobs", place, 60_000));
        here.queue_is("jobs", place + 1, SOON).await;
    }

    dies.service.kill().unwrap();
    let killed = Instant::now();
    let lease = json!({ "lease_id": tenure["lease_id"] });
    assert_eq!(here.keep_alive("jobs", lease).await.status, 200);
    println!(
        "renewed at another replica {:?} after the kill",
        killed.elapsed()
    );
    there.gives_back("jobs", &tenure).await;
    let mut last = tenure;
    for waiter in waiters {
        let next = is_served(waiter).await;
        assert!(token(&next) > token(&last));
        println!("the next holds {:?} after the kill", killed.elapsed());
        here.gives_back("jobs", &next).await;
        last = next;
    }
    assert!(
        killed.elapsed() < Duration::from_secs(2),
        "{:?}",
        killed.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_whose_holder_dies_with_its_replica_goes_to_the_next_when_its_lease_ends() {
    let etcd = Etcd::start().await.unwrap();
    let [dies, here, _] = three(etcd.endpoint()).await;
    let ttl = Duration::from_secs(2);
    let wish = json!({ "holder": "first", "ttl_ms": ttl.as_millis() });
    let waiter = {
        assert_eq!(dies.acquire("jobs", wish).await.status, 201);
        waits(&here, "jobs", 0, 60_000)
    };
    here.queue_is("jobs", 1, SOON).await;
    dies.service.kill().unwrap();
    let killed = Instant::now();
    is_served(waiter).await;
    println!("the next holds {:?} after the kill", killed.elapsed());
    assert!(
        killed.elapsed() < ttl + Duration::from_secs(2),
        "{:?}",
        killed.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_waiters_of_a_replica_that_is_killed_are_passed_over_and_the_others_keep_their_places()
{
    let etcd = Etcd::start().await.unwrap();
    let [dies, here, there] = three(etcd.endpoint()).await;
    let tenure = here.holds("jobs", "first").await;
    let mut queue = 0;
    let mut is_in_line = async || {
        queue += 1;
        here.queue_is("jobs", queue, SOON).await;
    };
    let _dead = waits_and_dies(&dies, "dead 0", 60_000).await;
    is_in_line().await;
    let first = waits(&here, "jobs", 1, 60_000);
    is_in_line().await;
    let _dead = waits_and_dies(&dies, "dead 2", 60_000).await;
    is_in_line().await;
    let second = waits(&there, "jobs", 3, 60_000);
    is_in_line().await;
    dies.service.kill().unwrap();
    let killed = Instant::now();
    here.queue_is("jobs", 2, SOON).await;
    println!("the dead have left {:?} after the kill", killed.elapsed());
    assert!(
        killed.elapsed() < Duration::from_secs(4),
        "{:?}",
        killed.elapsed()
    );
    there.gives_back("jobs", &tenure).await;
    let first = is_served(first).await;
    assert_eq!(first["holder"], "waiter 1");
    here.gives_back("jobs", &first).await;
    assert_eq!(is_served(second).await["holder"], "waiter 3");
}

/// Nobody knows yet that it is dead, and it is given the lock: for as long as its lease lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_handed_to_a_killed_replica_goes_on_when_that_lease_ends() {
    let etcd = Etcd::start().await.unwrap();
    let [dies, here, there] = three(etcd.endpoint()).await;
    let tenure = here.holds("jobs", "first").await;
    let ttl = Duration::from_secs(2);
    let _dead = waits_and_dies(&dies, "dead", ttl.as_millis()).await;
    here.queue_is("jobs", 1, SOON).await;
    let heir = waits(&there, "jobs", 1, 60_000);
    here.queue_is("jobs", 2, SOON).await;
    dies.service.kill().unwrap();
    let killed = Instant::now();
    here.gives_back("jobs", &tenure).await;
    is_served(heir).await;
    println!("the heir holds {:?} after the kill", killed.elapsed());
    assert!(
        killed.elapsed() < ttl + Duration::from_secs(3),
        "{:?}",
        killed.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_sessions_and_queues_go_on_when_the_leader_of_etcd_is_killed() {
    let cluster = EtcdCluster::start(3).await.unwrap();
    let replicas = three(&cluster.endpoints().join(",")).await;
    let mut tenure = replicas[0].holds("jobs", "first").await;
    let mut waiters = Vec::new();
    for place in 0..9 {
        waiters.push(waits(&replicas[place % 3], "jobs", place, 60_000));
        replicas[0].queue_is("jobs", place + 1, SOON).await;
    }
    let opened = json!({ "holder": "session", "ttl_ms": 10_000 });
    let session = replicas[1].post("/v1/sessions", opened).await.body;
    let session = session["session_id"].as_str().unwrap();

    let leader = cluster.leader().await.unwrap();
    cluster.nodes()[leader].kill().unwrap();
    let killed = Instant::now();
    gives_back_at_last(&replicas[1], "jobs", &tenure).await;
    println!("released {:?} after the kill", killed.elapsed());
    for (place, waiter) in waiters.into_iter().enumerate() {
        let next = is_served(waiter).await;
        if place == 0 {
            println!("the next holds {:?} after the kill", killed.elapsed());
            assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
        }
        assert_eq!(next["holder"], format!("waiter {place}"));
        assert!(token(&next) > token(&tenure));
        gives_back_at_last(&replicas[place % 3], "jobs", &next).await;
        tenure = next;
    }
    for app in &replicas {
        let path = format!("/v1/sessions/{session}/keepalive");
        eventually("the session lives", SOON, async || {
            match app.post_empty(&path).await.status.as_u16() {
                200 => Ok(()),
                status => Err(status),
            }
        })
        .await
        .unwrap();
        println!("a session renewed {:?} after the kill", killed.elapsed());
    }
}
