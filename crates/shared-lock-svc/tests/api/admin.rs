//! `GET /v1/locks`, `DELETE /v1/locks/{key}`

use serde_json::{Value, json};

use crate::app::TestApp;

#[tokio::test]
async fn locks_are_listed_in_pages_in_the_order_of_their_keys() {
    let app = TestApp::start().await;
    for key in ["jobs%2Fb", "a", "jobs%2Fa", "jobs%2F%C3%A4", "jobs", "z"] {
        app.holds(key, "me").await;
    }
    app.lease("", r#"{"key":"jobs/\u0000"}"#).await;
    let free = app.holds("jobs%2Ffree", "me").await;
    app.gives_back("jobs%2Ffree", &free).await;
    let mut path = "/v1/locks?prefix=jobs%2F&limit=2".to_owned();
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page = app.get_json(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let locks = page.body["locks"].as_array().unwrap();
        assert!(locks.len() <= 2);
        found.extend(
            locks
                .iter()
                .map(|lock| lock["key"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        path = format!("/v1/locks?prefix=jobs%2F&limit=2&cursor={next}");
    }
    assert_eq!(found, ["jobs/\0", "jobs/a", "jobs/b", "jobs/ä"]);
    assert_eq!(pages, 2);

    let all = app.get_json("/v1/locks").await;
    let locks = all.body["locks"].as_array().unwrap();
    assert_eq!((locks.len(), &all.body["next"]), (7, &Value::Null));
    let keys: Vec<_> = locks
        .iter()
        .map(|lock| lock["key"].as_str().unwrap())
        .collect();
    assert!(keys.is_sorted(), "{keys:?}");
    let mut one = app.inspect("a").await;
    let mut listed = locks[0].clone();
    for lock in [&mut one, &mut listed] {
        for field in ["held_ms", "remaining_ms"] {
            assert!(lock["holders"][0][field].take().is_u64());
        }
    }
    assert_eq!(listed, one, "a lock looks the same in a list");
    let none = app.get_json("/v1/locks?prefix=none").await;
    assert_eq!(none.body, json!({ "locks": [], "next": null }));
}

#[tokio::test]
async fn an_administrator_takes_a_lock_from_its_holder() {
    let app = TestApp::start().await;
    let tenure = app.holds("a%2Fb", "hangs").await;
    let forced = app.delete("/v1/locks/a%2Fb?reason=host+is+gone").await;
    assert_eq!(forced.status, 200, "{forced:?}");
    assert_eq!(forced.body["key"], "a/b");
    let released = forced.body["released"].as_array().unwrap();
    assert_eq!(released.len(), 1);
    assert_eq!(released[0]["holder"], "hangs");
    assert_eq!(released[0]["fencing_token"], tenure["fencing_token"]);
    let told = forced.body.to_string();
    assert!(
        !told.contains(tenure["lease_id"].as_str().unwrap()),
        "{told}"
    );

    let lease = json!({ "lease_id": tenure["lease_id"] });
    assert_eq!(app.keep_alive("a%2Fb", lease).await.status, 404);
    let next = app.holds("a%2Fb", "next").await;
    let late = json!({ "lease_id": tenure["lease_id"], "fencing_token": tenure["fencing_token"] });
    assert_eq!(
        app.release("a%2Fb", late).await.body,
        json!({ "released": false })
    );

    let by_body = json!({ "key": "a/b", "reason": "again" });
    let forced = app.post("/v1/locks:force-release", by_body).await;
    assert_eq!(
        forced.body["released"][0]["fencing_token"],
        next["fencing_token"]
    );
    let free = app.delete("/v1/locks/a%2Fb").await;
    assert_eq!(
        (free.status.as_u16(), &free.body["released"]),
        (200, &json!([]))
    );
}
