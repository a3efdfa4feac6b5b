//! `POST /v1/hostnames:import`.

use serde_json::{Value, json};

use crate::{
    app::{Answer, TestApp, lock_service, unique, wish},
    vault::{Vault, on_each_store, open_bao},
};

fn body(counters: &[u64]) -> Value {
    let mut body = wish("splunk", "web", "dev");
    body["counters"] = json!(counters);
    body["reason"] = json!("made by hand");
    body
}

async fn import(app: &TestApp, counters: &[u64], key: Option<&str>) -> Answer {
    app.post("/v1/hostnames:import", &body(counters), key).await
}

async fn dry_run(app: &TestApp, counters: &[u64]) -> Value {
    let mut body = body(counters);
    body["dry_run"] = json!(true);
    let answer = app.post("/v1/hostnames:import", &body, None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn imported_names_are_never_given_out_and_those_between_are_explained() {
    for app in on_each_store().await {
        let asked = dry_run(&app, &[7, 3]).await;
        let would = json!([
            { "counter": 3, "hostname": "splunkweb3dev" },
            { "counter": 7, "hostname": "splunkweb7dev" },
        ]);
        assert_eq!(
            asked,
            json!({ "dry_run": true, "hostnames": would, "taken": [], "passed": [], "passed_over": 5 })
        );
        assert_eq!(app.listed("").await, [""; 0]);

        let imported = import(&app, &[7, 3], None).await;
        assert_eq!(imported.status, 201);
        assert_eq!(
            imported.names("hostnames"),
            ["splunkweb3dev", "splunkweb7dev"]
        );
        assert_eq!(imported.body["taken"], json!([]));
        assert_eq!(imported.body["hostnames"][0]["reason"], "made by hand");
        assert_eq!(
            app.allocate(&wish("splunk", "web", "dev")).await.hostname(),
            "splunkweb8dev"
        );
        let all = ["splunkweb3dev", "splunkweb7dev", "splunkweb8dev"];
        assert_eq!(app.listed("").await, all);
        let prefix = app.get("/v1/prefixes/splunk/web/dev").await.body;
        assert_eq!(
            (&prefix["counter"], &prefix["passed_over"]),
            (&json!(8), &json!(5))
        );
    }
}

#[tokio::test]
async fn the_same_import_again_is_the_same_with_a_key_and_without() {
    for app in on_each_store().await {
        let first = import(&app, &[3, 7], None).await;
        for counters in [[3, 7], [7, 3]] {
            let again = import(&app, &counters, None).await;
            assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));
        }
        let keyed = import(&app, &[9], Some("k")).await;
        assert_eq!(keyed.status, 201);
        assert_eq!(import(&app, &[9], Some("k")).await.body, keyed.body);
        let other = import(&app, &[10], Some("k")).await;
        other.is_problem(422, "idempotency-key-reused");
    }
}

#[tokio::test]
async fn a_number_that_was_passed_refuses_the_whole_import_and_moves_nothing() {
    for app in on_each_store().await {
        app.post(
            "/v1/hostnames:batch",
            &{
                let mut body = wish("splunk", "web", "dev");
                body["count"] = json!(4);
                body
            },
            None,
        )
        .await;
        let asked = dry_run(&app, &[2, 4, 5]).await;
        assert_eq!(
            asked["passed"][1],
            json!({ "counter": 4, "hostname": "splunkweb4dev" })
        );
        for _ in 0..2 {
            let refused = import(&app, &[2, 4, 5], None).await;
            refused.is_problem(409, "number-passed");
        }
        let next = app.allocate(&wish("splunk", "web", "dev")).await;
        assert_eq!(next.hostname(), "splunkweb5dev");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_and_the_others_are_imported() {
    let (bao, base) = (open_bao().await, unique("imported"));
    let vault = Vault::of(bao);
    let locks = lock_service().await.url();
    let app = TestApp::with(vault.service(bao.address(), &base, locks).await).await;
    for number in [3, 7] {
        let record = format!("secret/data/{base}/hosts/sp/splunkweb{number}dev");
        let written = json!({ "options": { "cas": 0 }, "data": { "note": "by hand" } });
        vault.call("POST", &record, written).await;
    }
    let taken = json!([{ "counter": 3, "hostname": "splunkweb3dev" }]);
    assert_eq!(dry_run(&app, &[2, 3, 5]).await["taken"], taken);
    for status in [201, 200] {
        let imported = import(&app, &[2, 3, 5], None).await;
        assert_eq!(imported.status, status);
        assert_eq!(
            imported.names("hostnames"),
            ["splunkweb2dev", "splunkweb5dev"]
        );
        assert_eq!(imported.body["taken"], taken);
    }
    for _ in 0..2 {
        let refused = import(&app, &[7], None).await;
        refused.is_problem(409, "hostnames-taken");
    }
    let next = app.allocate(&wish("splunk", "web", "dev")).await;
    assert_eq!(next.hostname(), "splunkweb8dev");
    let counter = vault.counter(&base).await;
    let skipped: Vec<_> = counter.skipped_numbers().collect();
    assert_eq!(skipped, [3, 7]);
}

#[tokio::test]
async fn an_import_names_the_fields_that_are_wrong() {
    let app = TestApp::start().await;
    for (field, wrong) in [
        ("counters", json!([])),
        ("counters", json!([0])),
        ("counters", json!([2, 2])),
        ("counters", json!(["2"])),
        ("counters", json!(2)),
        ("counters", json!((1..=1001).collect::<Vec<_>>())),
        ("dry_run", json!("yes")),
        ("count", json!(3)),
    ] {
        let mut body = body(&[2]);
        body[field] = wrong.clone();
        let refused = app.post("/v1/hostnames:import", &body, None).await;
        assert_eq!(refused.fields(), [field], "{wrong}");
    }
    let mut long = wish(&"a".repeat(40), &"b".repeat(18), "prod");
    long["counters"] = json!([10]);
    let refused = app.post("/v1/hostnames:import", &long, None).await;
    assert_eq!(refused.fields(), ["counters"]);
    assert_eq!(app.listed("").await, [""; 0]);
}

#[tokio::test]
async fn an_import_of_a_prefix_that_could_not_be_told_from_another_is_refused() {
    let app = TestApp::start().await;
    app.allocate(&wish("splunkw", "eb", "dev")).await.hostname();
    import(&app, &[5], None)
        .await
        .is_problem(409, "ambiguous-prefix");
}
