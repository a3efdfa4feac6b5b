//! Prefixes whose hostnames could be taken for each other's.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    app::{Answer, TestApp, lock_service, unique, wish},
    vault::{Vault, on_each_store, open_bao},
};

#[tokio::test]
async fn parts_that_would_run_into_the_counter_are_refused_by_name() {
    for app in on_each_store().await {
        for (parts, field) in [
            // `ab`+12 and `ab1`+2.
            (["a", "b1", "x"], "role"),
            // `a`+1+`2x` and `a`+12+`x`.
            (["a", "a", "2x"], "environment"),
            // `aa`+1+`a1a1` and `aa1a`+1+`a1`.
            (["a", "a", "a1a1"], "environment"),
            (["aa1", "a", "a1"], "environment"),
        ] {
            let [application, role, environment] = parts;
            let refused = app.allocate(&wish(application, role, environment)).await;
            assert_eq!(refused.fields(), [field], "{parts:?}");
        }
        assert_eq!(app.listed("").await, [""; 0]);
    }
}

#[tokio::test]
async fn of_two_cuts_of_the_same_letters_the_first_one_has_them_for_ever() {
    for app in on_each_store().await {
        let first = app.allocate(&wish("web", "app", "dev")).await;
        assert_eq!(first.hostname(), "webapp1dev");
        let owner = json!({ "application": "web", "role": "app" });
        for (application, role) in [("we", "bapp"), ("weba", "pp"), ("w", "ebapp")] {
            for key in [None, Some("k")] {
                let body = wish(application, role, "dev");
                let refused = app.post("/v1/hostnames", &body, key).await;
                refused.is_problem(409, "ambiguous-prefix");
                assert_eq!(refused.body["owner"], owner);
            }
        }
        app.service.restart().await.unwrap();
        app.allocate(&wish("we", "bapp", "dev"))
            .await
            .is_problem(409, "ambiguous-prefix");
        assert_eq!(app.listed("").await, ["webapp1dev"]);
    }
}

#[tokio::test]
async fn of_many_cuts_at_once_at_two_replicas_one_gets_the_names() {
    let (bao, base) = (open_bao().await, unique("cuts"));
    let vault = Vault::of(bao);
    let locks = lock_service().await.url();
    let replica = async || TestApp::with(vault.service(bao.address(), &base, locks).await).await;
    let (one, two) = (replica().await, replica().await);
    let bodies: Vec<Value> = (1..7)
        .map(|cut| wish(&"abcdefg"[..cut], &"abcdefg"[cut..], "dev"))
        .collect();
    let calls = (0..60).map(|call| {
        let app = if call % 2 == 0 { &one } else { &two };
        app.allocate(&bodies[call % 6])
    });
    let answers = join_all(calls).await;
    let (given, refused): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| answer.status == 201);
    let owners: std::collections::BTreeSet<_> = (given.iter())
        .map(|answer| answer.body["application"].as_str().unwrap())
        .collect();
    assert_eq!((given.len(), owners.len()), (10, 1), "{owners:?}");
    for answer in refused {
        answer.is_problem(409, "ambiguous-prefix");
        let owner = answer.body["owner"]["application"].as_str();
        assert_eq!(owner, owners.first().copied());
    }
    let mut counters: Vec<_> = given.iter().map(|answer| answer.counter()).collect();
    counters.sort_unstable();
    assert_eq!(counters, (1..=10).collect::<Vec<_>>());
}
