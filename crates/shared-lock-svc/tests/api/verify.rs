//! `POST /v1/locks/{key}/verify`

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_tenure_is_current_until_it_ends_and_no_later_one_passes_for_it() {
    let app = TestApp::start().await;
    let first = app.holds("jobs", "first").await;
    let tenure = json!({ "lease_id": first["lease_id"], "fencing_token": first["fencing_token"] });
    let current = app.post("/v1/locks/jobs/verify", tenure.clone()).await;
    assert_eq!(current.status, 200, "{current:?}");
    assert_eq!(current.body["current"], true);
    assert_eq!(current.body["key"], "jobs");
    assert_eq!(current.body["fencing_token"], first["fencing_token"]);
    assert_eq!(current.body["token_epoch"], first["token_epoch"]);
    assert!(current.body["remaining_ms"].as_u64().unwrap() > 50_000);
    let by_request = json!({ "request_id": first["request_id"] });
    let found = app.post("/v1/locks/jobs/verify", by_request.clone()).await;
    assert_eq!(found.body["fencing_token"], first["fencing_token"]);

    app.gives_back("jobs", &first).await;
    let second = app.holds("jobs", "second").await;
    let mixed = json!({ "lease_id": second["lease_id"], "fencing_token": first["fencing_token"] });
    for claim in [tenure, by_request, mixed] {
        let over = app.post("/v1/locks/jobs/verify", claim).await;
        assert_eq!(over.status, 200);
        assert_eq!(
            over.body,
            json!({ "key": "jobs", "current": false, "token_epoch": first["token_epoch"] })
        );
    }
    let elsewhere =
        json!({ "lease_id": second["lease_id"], "fencing_token": second["fencing_token"] });
    let over = app.post("/v1/locks/other/verify", elsewhere).await;
    assert_eq!(over.body["current"], false);
}
