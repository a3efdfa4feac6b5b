//! `POST /v1/locks/{key}/release`

use serde_json::{Value, json};

use crate::app::TestApp;

fn tenure(acquired: &Value) -> Value {
    json!({ "lease_id": acquired["lease_id"], "fencing_token": acquired["fencing_token"] })
}

#[tokio::test]
async fn a_release_is_safe_to_repeat_and_late_ones_free_nothing() {
    let app = TestApp::start().await;
    let first = app.holds("jobs", "first").await;
    app.gives_back("jobs", &first).await;
    let again = app.release("jobs", tenure(&first)).await;
    assert_eq!(
        (again.status.as_u16(), again.body),
        (200, json!({ "released": false }))
    );

    let second = app.holds("jobs", "second").await;
    let late = app.release("jobs", tenure(&first)).await;
    assert_eq!(late.body, json!({ "released": false }));
    let mixed = json!({
        "lease_id": second["lease_id"],
        "fencing_token": first["fencing_token"],
    });
    assert_eq!(
        app.release("jobs", mixed).await.body,
        json!({ "released": false })
    );
    let view = app.inspect("jobs").await;
    assert_eq!(view["holders"][0]["holder"], "second");
}

#[tokio::test]
async fn a_request_id_ends_what_it_got_and_what_it_would_get() {
    let app = TestApp::start().await;
    let wish = json!({ "holder": "me", "ttl_ms": 60_000, "request_id": "q" });
    assert_eq!(app.acquire("jobs", wish.clone()).await.status, 201);
    let by_id = json!({ "request_id": "q" });
    assert_eq!(
        app.release("jobs", by_id.clone()).await.body,
        json!({ "released": true })
    );
    assert_eq!(
        app.release("jobs", by_id.clone()).await.body,
        json!({ "released": false })
    );
    assert_eq!(app.acquire("jobs", wish.clone()).await.status, 410);

    assert_eq!(
        app.release("early", by_id).await.body,
        json!({ "released": false })
    );
    assert_eq!(
        app.acquire("early", wish).await.status,
        410,
        "it was ended before it came"
    );
}
