//! Bad input: each kind has its status and names its field; nothing is written, no counter moves.

use serde_json::{Value, json};

use crate::app::{TestApp, wish};

/// Checks that nothing was given out: the next name is the first one.
async fn nothing_moved(app: &TestApp) {
    assert_eq!(app.listed("").await, [""; 0]);
    assert_eq!(
        app.allocate(&wish("splunk", "web", "dev")).await.hostname(),
        "splunkweb1dev"
    );
}

fn with(field: &str, value: Value) -> Value {
    let mut body = wish("splunk", "web", "dev");
    body[field] = value;
    body
}

#[tokio::test]
async fn every_field_is_refused_by_its_name() {
    let app = TestApp::start().await;
    for field in ["application", "role", "environment"] {
        let mut missing = wish("splunk", "web", "dev");
        missing.as_object_mut().unwrap().remove(field);
        assert_eq!(app.allocate(&missing).await.fields(), [field]);
        for wrong in [
            json!(null),
            json!(7),
            json!(true),
            json!(["web"]),
            json!({ "web": 1 }),
        ] {
            assert_eq!(
                app.allocate(&with(field, wrong.clone())).await.fields(),
                [field],
                "{wrong}"
            );
        }
        for wrong in [
            "",
            "Web",
            "WEB",
            "we b",
            "we_b",
            "we.b",
            "we/b",
            "..",
            "wéb",
            "we\u{0}b",
            "web\n",
            "-web",
            "web-",
            "we--b",
            &"a".repeat(61),
            &"a".repeat(64),
            &"a".repeat(10_000),
        ] {
            assert_eq!(
                app.allocate(&with(field, json!(wrong))).await.fields(),
                [field],
                "{wrong:?}"
            );
        }
    }
    assert_eq!(
        app.allocate(&with("role", json!("web2"))).await.fields(),
        ["role"]
    );
    assert_eq!(
        app.allocate(&with("environment", json!("d3v")))
            .await
            .fields(),
        ["environment"]
    );
    nothing_moved(&app).await;
}

#[tokio::test]
async fn what_may_be_left_out_is_refused_when_it_is_wrong() {
    let app = TestApp::start().await;
    for (field, max) in [("requested_by", 256), ("reason", 1024)] {
        for wrong in [
            json!(null),
            json!(7),
            json!(""),
            json!("a\u{0}b"),
            json!("a\u{202e}b"),
            json!(" \u{a0}"),
            json!("é".repeat(max + 1)),
        ] {
            assert_eq!(
                app.allocate(&with(field, wrong.clone())).await.fields(),
                [field],
                "{wrong}"
            );
        }
    }
    let many: Value = (0..17)
        .map(|n| (format!("l{n}"), json!("x")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    for (labels, field) in [
        (json!([]), "labels"),
        (json!("x"), "labels"),
        (many, "labels"),
        (json!({ "": "x" }), "labels."),
        (json!({ "a b": "x" }), "labels.a b"),
        (json!({ "a": 1 }), "labels.a"),
        (json!({ "a": "\u{7}" }), "labels.a"),
        (json!({ "a": "x".repeat(257) }), "labels.a"),
    ] {
        assert_eq!(
            app.allocate(&with("labels", labels.clone())).await.fields(),
            [field],
            "{labels}"
        );
    }
    nothing_moved(&app).await;
}

#[tokio::test]
async fn all_that_is_wrong_is_told_together() {
    let app = TestApp::start().await;
    let body = json!({ "application": "A", "role": 1, "count": 3 });
    let request = app
        .client
        .post(app.url("/v1/hostnames"))
        .header("idempotency-key", "a b")
        .json(&body);
    let refused = app.answer(request).await;
    assert_eq!(
        refused.fields(),
        [
            "application",
            "role",
            "environment",
            "count",
            "Idempotency-Key"
        ]
    );
    nothing_moved(&app).await;
}

#[tokio::test]
async fn a_body_that_is_no_object_of_json_is_refused() {
    let app = TestApp::start().await;
    let json_type = Some("application/json");
    let good = r#"{"application":"splunk","role":"web","environment":"dev"}"#;
    for (body, status) in [
        (&b""[..], 400),
        (b"{", 400),
        (b"{\"application\": \"\xff\"}", 400),
        (b"{\"application\": \"splunk\",}", 400),
        (b"[]", 422),
        (b"null", 422),
        (b"\"x\"", 422),
    ] {
        let refused = app.post_raw(json_type, body).await;
        assert_eq!(refused.status, status, "{body:?}: {refused:?}");
        assert_eq!(
            refused.header("content-type"),
            Some("application/problem+json")
        );
    }
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
    ] {
        app.post_raw(content_type, good)
            .await
            .is_problem(415, "unsupported-media-type");
    }
    let large = with("reason", json!("x".repeat(70_000)));
    app.allocate(&large).await.is_problem(413, "body-too-large");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(app.post_raw(json_type, deep).await.status, 400);
    nothing_moved(&app).await;
}

#[tokio::test]
async fn a_query_is_refused_by_the_name_of_its_parameter() {
    let app = TestApp::start().await;
    let body = wish("splunk", "web", "dev");
    for path in ["/v1/hostnames?bogus=1", "/v1/hostnames:batch?bogus=1"] {
        assert_eq!(
            app.post(path, &body, None).await.fields(),
            ["bogus"],
            "{path}"
        );
    }
    nothing_moved(&app).await;
    for (query, status) in [
        ("reason=%ff", 400),
        ("reason=%ed%a0%80", 400),
        ("reason=100%", 400),
        ("reason=+", 422),
        ("reason=a%E2%80%AEb", 422),
        ("reason=a%E2%80%8Bb", 422),
        ("reason=a&reason=b", 422),
    ] {
        let url = app.url(&format!("/v1/hostnames/splunkweb1dev?{query}"));
        let refused = app.answer(app.client.delete(url)).await;
        assert_eq!(refused.status, status, "{query}: {refused:?}");
        assert_eq!(refused.body["errors"][0]["field"], "reason", "{query}");
    }
    let kept = app.get("/v1/hostnames/splunkweb1dev").await;
    assert!(kept.body.get("retired").is_none(), "{kept:?}");
    app.get("/v1/hostnames/splunkweb1dev?x=1")
        .await
        .is_problem(422, "invalid");
}

#[tokio::test]
async fn a_method_or_a_path_that_is_not_there_is_a_problem_too() {
    let app = TestApp::start().await;
    let refused = app
        .client
        .put(app.url("/v1/hostnames"))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 405);
    assert!(refused.headers().contains_key("allow"));
    let refused = app
        .client
        .put(app.url("/v1/hostnames/x1y"))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 405);
    app.get("/v1/hostname").await.is_problem(404, "not-found");
    let kinds = app
        .client
        .get(app.url("/problems/ambiguous-prefix"))
        .send()
        .await
        .unwrap();
    assert_eq!(kinds.status(), 200);
}
