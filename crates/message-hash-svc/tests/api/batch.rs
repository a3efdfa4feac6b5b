//! Several messages by one call.

use message_hash_svc::digest::Digest;
use serde_json::{Value, json};

use crate::app::{App, Reply};

async fn batch(app: &App, body: &Value) -> Reply {
    let json = "content-type: application/json";
    app.call("POST", "/messages:batch", &[json], body.to_string())
        .await
}

fn digest(message: &[u8]) -> String {
    Digest::of(message).to_string()
}

#[tokio::test]
async fn a_batch_puts_by_one_commit_and_then_gets_and_asks() {
    let app = App::start().await;
    app.keep("known").await;
    let commits = app.metric("message_hash_commit_posts_count").await;
    let reply = batch(
        &app,
        &json!({
            "put": [
                {"message": "known"}, {"message": "", "digest": digest(b"")},
                {"message_base64": "/w=="}, {"message": ""},
            ],
            "get": [digest(b"\xff"), digest(b"absent"), digest(b"known")],
            "exists": [digest(b""), digest(b"absent")],
        }),
    )
    .await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.json(),
        json!({
            "put": [
                {"digest": digest(b"known"), "outcome": "known"},
                {"digest": digest(b""), "outcome": "new"},
                {"digest": digest(b"\xff"), "outcome": "new"},
                {"digest": digest(b""), "outcome": "known"},
            ],
            "get": [
                {"digest": digest(b"\xff"), "outcome": "found", "message_base64": "/w=="},
                {"digest": digest(b"absent"), "outcome": "missing"},
                {"digest": digest(b"known"), "outcome": "found", "message": "known"},
            ],
            "exists": [
                {"digest": digest(b""), "exists": true},
                {"digest": digest(b"absent"), "exists": false},
            ],
        })
    );
    let after = app.metric("message_hash_commit_posts_count").await;
    assert_eq!(after - commits, 1.0);
}

#[tokio::test]
async fn a_batch_with_one_bad_entry_is_refused_whole() {
    let app = App::start_with(&[("MESSAGE_LIMIT", "10")]).await;
    let good = json!({"message": "good"});
    for (bad, status, field) in [
        (json!({"put": [good, {}]}), 422, "put[1].message"),
        (
            json!({"put": [good, {"message": 1}]}),
            422,
            "put[1].message",
        ),
        (
            json!({"put": [good, {"message": "a", "message_base64": "YQ=="}]}),
            422,
            "put[1].message",
        ),
        (
            json!({"put": [good, {"message_base64": "a"}]}),
            422,
            "put[1].message_base64",
        ),
        (
            json!({"put": [good, {"message": "a", "digest": "A"}]}),
            422,
            "put[1].digest",
        ),
        (
            json!({"put": [good, {"message": "a", "ttl_ms": 5}]}),
            422,
            "put[1].ttl_ms",
        ),
        (
            json!({"put": [good, {"message": "a", "digest": null}]}),
            422,
            "put[1].digest",
        ),
        (
            json!({"put": [good, {"message": "a", "x": 1}]}),
            422,
            "put[1].x",
        ),
        (
            json!({"put": [good, ["a", null, null, null]]}),
            422,
            "put[1]",
        ),
        (
            json!({"put": [good, {"message": "a", "digest": digest(b"b")}]}),
            422,
            "put[1].digest",
        ),
        (json!({"put": [good, {"message": "0123456789a"}]}), 413, ""),
        (json!({"put": [good], "get": ["x"]}), 422, "get[0]"),
        (
            json!({"put": [good], "exists": [digest(b"a"), "x"]}),
            422,
            "exists[1]",
        ),
        (json!({"put": [good], "got": []}), 422, "got"),
        (json!({"put": vec![good.clone(); 1001]}), 422, "body"),
        (json!([]), 422, "body"),
    ] {
        let reply = batch(&app, &bad).await;
        let problem = reply.json();
        assert_eq!(reply.status, status, "{bad}: {problem}");
        assert_eq!(reply.problem().0, status);
        if !field.is_empty() {
            assert_eq!(problem["errors"][0]["field"], field, "{bad}: {problem}");
        }
    }
    let path = format!("/messages/{}", digest(b"good"));
    assert_eq!(app.get(&path).await.status, 404);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_batch_is_told_at_once() {
    let app = App::start().await;
    let wrong = json!({
        "put": [{"message": "good"}, {"message": 1, "ttl_ms": "1"}, {"message_base64": "a", "digest": "A"}, 7],
        "get": [1, digest(b"a"), "x"], "exists": {}, "y".repeat(500): 1,
    });
    let problem = batch(&app, &wrong).await.json();
    let fields: Vec<_> = (problem["errors"].as_array().unwrap().iter())
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    let unknown = "y".repeat(64);
    let expected = [
        "exists",
        "put[1].message",
        "put[1].ttl_ms",
        "put[2].message_base64",
        "put[2].digest",
        "put[3]",
        "get[0]",
        "get[2]",
        unknown.as_str(),
    ];
    assert_eq!(fields, expected, "{problem}");
    let unknown = (0..5000)
        .map(|place| (format!("x{place}"), json!(1)))
        .collect();
    let problem = batch(&app, &Value::Object(unknown)).await.json();
    assert_eq!(problem["errors"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn the_answer_to_a_batch_is_bounded_and_says_what_it_left_out() {
    let app = App::start_with(&[("BATCH_LIMIT", "1000")]).await;
    let (first, second) = (
        app.keep(&"a".repeat(600)).await,
        app.keep(&"b".repeat(600)).await,
    );
    let third = app.keep("c").await;
    let wanted = json!({"get": [first.to_string(), second.to_string(), third.to_string()]});
    let reply = batch(&app, &wanted).await.json();
    let outcomes: Vec<_> = (0..3)
        .map(|place| reply["get"][place]["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["found", "too-large", "found"]);
    let long = json!({"put": [{"message": "x".repeat(1000)}]});
    assert_eq!(
        batch(&app, &long).await.problem(),
        (413, "body-too-large".to_owned())
    );
}
