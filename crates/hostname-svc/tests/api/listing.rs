//! `GET /v1/hostnames`.

use crate::app::{TestApp, wish};

async fn filled() -> TestApp {
    let app = TestApp::start().await;
    for (application, role, environment, count) in [
        ("b", "web", "dev", 12),
        ("a", "web", "dev", 2),
        ("a", "db", "dev", 1),
        ("a", "db", "ci", 1),
        ("a-a", "x", "dev", 1),
    ] {
        for _ in 0..count {
            app.allocate(&wish(application, role, environment))
                .await
                .hostname();
        }
    }
    app
}

const ALL: [&str; 17] = [
    "adb1ci",
    "adb1dev",
    "aweb1dev",
    "aweb2dev",
    "a-ax1dev",
    "bweb1dev",
    "bweb2dev",
    "bweb3dev",
    "bweb4dev",
    "bweb5dev",
    "bweb6dev",
    "bweb7dev",
    "bweb8dev",
    "bweb9dev",
    "bweb10dev",
    "bweb11dev",
    "bweb12dev",
];

#[tokio::test]
async fn hostnames_are_listed_by_their_parts_and_in_the_order_of_counters() {
    let app = filled().await;
    assert_eq!(app.listed("").await, ALL);
    assert_eq!(app.listed("application=a").await, ALL[..4]);
    assert_eq!(app.listed("application=a&role=db").await, ALL[..2]);
    assert_eq!(
        app.listed("application=b&role=web&environment=dev").await,
        ALL[5..]
    );
    assert_eq!(app.listed("application=c").await, [""; 0]);
    assert_eq!(
        app.listed("application=b&role=web&environment=prod").await,
        [""; 0]
    );
}

#[tokio::test]
async fn pages_of_any_size_join_to_the_whole() {
    let app = filled().await;
    for limit in [1, 2, 5, 16, 17, 500] {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = app
                .get(&format!("/v1/hostnames?limit={limit}{after}"))
                .await;
            let hostnames = page.body["hostnames"].as_array().unwrap();
            assert!(!hostnames.is_empty() && hostnames.len() <= limit);
            all.extend(
                hostnames
                    .iter()
                    .map(|it| it["hostname"].as_str().unwrap().to_owned()),
            );
            match page.body["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(all, ALL, "limit {limit}");
    }
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused_by_name() {
    let app = filled().await;
    let next = app.get("/v1/hostnames?application=b&limit=1").await.body["next"]
        .as_str()
        .unwrap()
        .to_owned();
    for (query, field) in [
        ("page=2", "page"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("limit=%2B1", "limit"),
        ("application=A", "application"),
        ("application=a&application=b", "application"),
        ("role=web", "role"),
        ("application=a&environment=dev", "environment"),
        ("application=a&role=web_", "role"),
        ("after=x", "after"),
        (&format!("application=a&after={next}"), "after"),
    ] {
        let refused = app.get(&format!("/v1/hostnames?{query}")).await;
        assert_eq!(refused.fields(), [field], "{query}");
    }
    assert_eq!(
        app.listed(&format!("application=b&limit=1&after={next}"))
            .await,
        ["bweb2dev"]
    );
}
