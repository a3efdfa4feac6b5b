//! Calls on several locks or leases name the one that is wrong.

use serde_json::json;

use super::{are_refused, of, with};
use crate::app::TestApp;

#[tokio::test]
async fn calls_on_several_locks_name_the_one_that_is_wrong() {
    let app = TestApp::start().await;
    let lock = |key: &str| json!({ "key": key });
    let wish = json!({ "holder": "me", "ttl_ms": 60_000, "locks": [lock("a"), lock("b")] });
    let many: Vec<_> = (0..31).map(|key| lock(&key.to_string())).collect();
    let refusals = [
        vec![
            (with(&wish, "locks", None), "locks"),
            (with(&wish, "holder", None), "holder"),
            (
                with(&wish, "lock_delay_ms", Some(json!(1))),
                "lock_delay_ms",
            ),
        ],
        of(
            &wish,
            "locks",
            [json!([]), json!({}), json!(null), json!(many)],
        ),
        of(&wish, "locks", [json!([lock("a"), lock("b"), lock("a")])]),
        vec![
            (
                with(&wish, "locks", Some(json!([lock("a"), "b"]))),
                "locks[1]",
            ),
            (
                with(&wish, "locks", Some(json!([lock("a"), {}]))),
                "locks[1].key",
            ),
            (
                with(&wish, "locks", Some(json!([lock("\u{1}")]))),
                "locks[0].key",
            ),
            (
                with(
                    &wish,
                    "locks",
                    Some(json!([{ "key": "a", "mode": "permit" }])),
                ),
                "locks[0].limit",
            ),
            (
                with(&wish, "locks", Some(json!([{ "key": "a", "ttl_ms": 1 }]))),
                "locks[0].ttl_ms",
            ),
        ],
    ];
    are_refused(&app, "/v1/locks:acquire-all", refusals).await;
    let leases = json!({ "lease_ids": ["1"] });
    let refusals = [
        vec![(json!({}), "lease_ids")],
        of(&leases, "lease_ids", [json!("1"), json!([]), json!(null)]),
        of(&leases, "lease_ids", [json!(vec!["1"; 1001])]),
        vec![
            (json!({ "lease_ids": ["1", 2] }), "lease_ids[1]"),
            (json!({ "lease_ids": ["x"] }), "lease_ids[0]"),
        ],
        of(&leases, "locks", [json!("1"), json!([]), json!(null)]),
        vec![
            (
                json!({ "lease_ids": ["1"], "locks": [{ "key": "a", "lease_id": "1" }] }),
                "locks[0].fencing_token",
            ),
            (
                json!({ "lease_ids": ["1"], "locks": [{ "key": "", "lease_id": "1", "fencing_token": "1" }] }),
                "locks[0].key",
            ),
        ],
    ];
    are_refused(&app, "/v1/keepalive", refusals).await;
}
