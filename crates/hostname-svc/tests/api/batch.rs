//! `POST /v1/hostnames:batch`.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    app::{Answer, TestApp, lock_service, unique, wish},
    vault::{Vault, gap_free, on_each_store, open_bao},
};

fn batch(count: u64) -> Value {
    let mut body = wish("splunk", "web", "dev");
    body["count"] = json!(count);
    body
}

async fn allocate(app: &TestApp, count: u64, key: Option<&str>) -> Answer {
    app.post("/v1/hostnames:batch", &batch(count), key).await
}

#[tokio::test]
async fn a_batch_is_contiguous_and_its_key_gives_the_same_one_again() {
    for app in on_each_store().await {
        app.allocate(&wish("splunk", "web", "dev")).await.hostname();
        let given = allocate(&app, 3, Some("three")).await;
        assert_eq!(given.status, 201);
        let names = ["splunkweb2dev", "splunkweb3dev", "splunkweb4dev"];
        assert_eq!(given.names("hostnames"), names);
        assert_eq!(given.body["contiguous"], true);
        let again = allocate(&app, 3, Some("three")).await;
        assert_eq!((again.status.as_u16(), &again.body), (200, &given.body));
        assert_eq!(again.header("idempotent-replay"), Some("true"));
        for (body, path) in [
            (batch(4), "/v1/hostnames:batch"),
            (wish("splunk", "web", "dev"), "/v1/hostnames"),
        ] {
            let other = app.post(path, &body, Some("three")).await;
            other.is_problem(422, "idempotency-key-reused");
        }
        let next = allocate(&app, 1, None).await;
        assert_eq!(next.names("hostnames"), ["splunkweb5dev"]);
    }
}

#[tokio::test]
async fn batches_and_single_calls_at_once_leave_no_gap_and_a_thousand_fit_into_one() {
    let (bao, base) = (open_bao().await, unique("batches"));
    let vault = Vault::of(bao);
    let locks = lock_service().await.url();
    let app = TestApp::with(vault.service(bao.address(), &base, locks).await).await;
    let large = allocate(&app, 1000, Some("thousand")).await;
    assert_eq!(large.names("hostnames").len(), 1000);
    assert_eq!(
        allocate(&app, 1000, Some("thousand")).await.body,
        large.body
    );
    let singles = join_all((0..40).map(|_| allocate(&app, 1, None)));
    let many = join_all((0..8).map(|_| allocate(&app, 50, None)));
    let (singles, many) = tokio::join!(singles, many);
    for answer in &many {
        assert_eq!(answer.body["contiguous"], true);
    }
    let mut names: Vec<_> = singles
        .iter()
        .chain(&many)
        .chain([&large])
        .collect::<Vec<_>>()
        .iter()
        .flat_map(|it| it.names("hostnames"))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 1440);
    gap_free(&vault, &base, 1440).await;
}

#[tokio::test]
async fn a_batch_that_meets_a_taken_name_says_that_it_is_not_contiguous() {
    let (bao, base) = (open_bao().await, unique("broken"));
    let vault = Vault::of(bao);
    let locks = lock_service().await.url();
    let app = TestApp::with(vault.service(bao.address(), &base, locks).await).await;
    let record = format!("secret/data/{base}/hosts/sp/splunkweb2dev");
    let written = json!({ "options": { "cas": 0 }, "data": { "note": "by hand" } });
    vault.call("POST", &record, written).await;
    let given = allocate(&app, 3, None).await;
    let names = ["splunkweb1dev", "splunkweb4dev", "splunkweb3dev"];
    assert_eq!(given.names("hostnames"), names);
    assert_eq!(given.body["contiguous"], false);
    let counter = vault.counter(&base).await;
    assert_eq!(counter.value, 4);
    assert_eq!(counter.skipped["2"], json!({ "why": "taken", "next": 4 }));
}

#[tokio::test]
async fn a_batch_beyond_the_last_number_takes_none() {
    let app = TestApp::start().await;
    let mut body = wish(&"a".repeat(40), &"b".repeat(18), "prod");
    body["count"] = json!(10);
    let refused = app.post("/v1/hostnames:batch", &body, None).await;
    refused.is_problem(409, "prefix-exhausted");
    body["count"] = json!(9);
    let given = app.post("/v1/hostnames:batch", &body, None).await;
    assert_eq!(given.names("hostnames").len(), 9);
}

#[tokio::test]
async fn a_count_that_is_not_allowed_is_refused_by_name() {
    let app = TestApp::start().await;
    for count in [
        json!(0),
        json!(1001),
        json!(-1),
        json!(1.5),
        json!("3"),
        json!(null),
    ] {
        let mut body = wish("splunk", "web", "dev");
        body["count"] = count.clone();
        let refused = app.post("/v1/hostnames:batch", &body, None).await;
        assert_eq!(refused.fields(), ["count"], "{count}");
    }
    let missing = app
        .post("/v1/hostnames:batch", &wish("splunk", "web", "dev"), None)
        .await;
    assert_eq!(missing.fields(), ["count"]);
    assert_eq!(app.listed("").await, [""; 0]);
}
