//! `/v1/prefixes`.

use reqwest::Method;
use serde_json::json;

use crate::{
    app::{Answer, TestApp, wish},
    vault::on_each_store,
};

const PREFIX: &str = "/v1/prefixes/splunk/web/dev";

async fn raise(app: &TestApp, floor: u64) -> Answer {
    let body = json!({ "floor": floor });
    app.send(Method::PUT, &format!("{PREFIX}/floor"), &body, None)
        .await
}

#[tokio::test]
async fn a_prefix_tells_how_far_its_numbers_have_come() {
    for app in on_each_store().await {
        app.get(PREFIX).await.is_problem(404, "prefix-not-found");
        let full = wish(&"a".repeat(40), &"b".repeat(18), "prod");
        for _ in 0..3 {
            app.allocate(&full).await.hostname();
        }
        let path = format!("/v1/prefixes/{}/{}/prod", "a".repeat(40), "b".repeat(18));
        let state = app.get(&path).await.body;
        assert_eq!((&state["counter"], &state["last"]), (&json!(3), &json!(9)));
        let fill = state["fill"].as_f64().unwrap();
        assert!((fill - 1.0 / 3.0).abs() < 1e-9, "{fill}");
        assert_eq!(
            (&state["skipped"], &state["passed_over"]),
            (&json!(0), &json!(0))
        );
    }
}

#[tokio::test]
async fn a_floor_is_only_ever_raised() {
    for app in on_each_store().await {
        assert_eq!(raise(&app, 10).await.body["counter"], 10);
        assert_eq!(
            app.allocate(&wish("splunk", "web", "dev")).await.hostname(),
            "splunkweb11dev"
        );
        for floor in [10, 3] {
            let state = raise(&app, floor).await;
            assert_eq!(state.status, 200);
            assert_eq!(state.body["counter"], 11);
            assert_eq!(state.body["passed_over"], 10);
        }
        let huge = 9_007_199_254_740_990_u64;
        assert_eq!(raise(&app, huge).await.body["passed_over"], huge - 1);
        assert_eq!(
            app.allocate(&wish("splunk", "web", "dev")).await.counter(),
            huge + 1
        );
        let names = ["splunkweb11dev", "splunkweb9007199254740991dev"];
        assert_eq!(app.listed("").await, names);
        app.allocate(&wish("splunk", "web", "dev"))
            .await
            .is_problem(409, "prefix-exhausted");
    }
}

#[tokio::test]
async fn a_floor_that_is_not_allowed_is_refused_by_name() {
    let app = TestApp::start().await;
    for floor in [
        json!(0),
        json!(-1),
        json!("3"),
        json!(1_u64 << 53),
        json!(null),
    ] {
        let body = json!({ "floor": floor });
        let refused = app
            .send(Method::PUT, &format!("{PREFIX}/floor"), &body, None)
            .await;
        assert_eq!(refused.fields(), ["floor"], "{body}");
    }
    let wrong = app.get("/v1/prefixes/Splunk/web_/Dev").await;
    assert_eq!(wrong.fields(), ["application", "role", "environment"]);
    app.get(PREFIX).await.is_problem(404, "prefix-not-found");
    app.allocate(&wish("splunkw", "eb", "dev")).await.hostname();
    raise(&app, 3).await.is_problem(409, "ambiguous-prefix");
}

#[tokio::test]
async fn pages_of_prefixes_join_to_the_whole() {
    for app in on_each_store().await {
        let all = [
            ("a", "db", "ci"),
            ("a", "db", "dev"),
            ("a", "web", "dev"),
            ("a-a", "x", "dev"),
            ("b", "web", "dev"),
        ];
        for (application, role, environment) in all {
            let body = wish(application, role, environment);
            app.allocate(&body).await.hostname();
        }
        for limit in [1, 2, 4, 5, 500] {
            let (mut found, mut after) = (Vec::new(), String::new());
            loop {
                let page = app.get(&format!("/v1/prefixes?limit={limit}{after}")).await;
                let prefixes = page.body["prefixes"].as_array().unwrap();
                assert!(!prefixes.is_empty() && prefixes.len() <= limit);
                found.extend(prefixes.iter().cloned());
                match page.body["next"].as_str() {
                    Some(next) => after = format!("&after={next}"),
                    None => break,
                }
            }
            let names: Vec<_> = found
                .iter()
                .map(|it| {
                    ["application", "role", "environment"].map(|part| it[part].as_str().unwrap())
                })
                .collect();
            assert_eq!(names, all.map(|(a, r, e)| [a, r, e]), "limit {limit}");
        }
        let some = app.get("/v1/prefixes?application=a&role=db").await;
        assert_eq!(some.body["prefixes"].as_array().unwrap().len(), 2);
        let wrong = app.get("/v1/prefixes?environment=dev&after=x").await;
        assert_eq!(wrong.fields(), ["environment", "after"]);
    }
}

#[tokio::test]
async fn a_prefix_whose_numbers_run_out_is_told_beforehand() {
    for app in on_each_store().await {
        let full = wish(&"a".repeat(40), &"b".repeat(18), "prod");
        for _ in 0..9 {
            app.allocate(&full).await.hostname();
        }
        // The first sweep is at the start.
        app.service.restart().await.unwrap();
        app.shows("hostname_prefixes_nearly_full 1").await;
    }
}
