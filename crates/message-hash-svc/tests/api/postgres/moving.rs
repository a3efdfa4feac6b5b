//! From one primary to two while callers go on.

use super::{MESSAGES, app_with, command, expect, primary, said, url};
use crate::app::App;

const KEY: &str = "of all the ring bearers";

async fn keep(app: &App, name: &str) -> Vec<(message_hash_svc::digest::Digest, String)> {
    let mut kept = Vec::new();
    for number in 0..100 {
        let text = format!("{name} {number} {}", "x".repeat(number * 20));
        kept.push((app.keep(&text).await, text));
    }
    kept
}

#[tokio::test]
async fn a_second_primary_takes_its_share_while_every_message_stays_readable() {
    let (first, second) = (primary().await, primary().await);
    let old = format!("a={}", url(&first));
    let new = format!("{old};b={}", url(&second));
    let also = |shards| {
        [
            ("POSTGRES_ALSO_READ", shards),
            ("ADMIN_KEY", KEY),
            ("CACHE_BYTES", "0"),
        ]
    };

    // Every replica learns to read both before the first one writes to the new place.
    let before = app_with(&old, &also(&new)).await;
    let mut kept = keep(&before, "before").await;
    let blocked = before.keep("blocked").await;
    let auth = format!("authorization: Bearer {KEY}");
    let deletion = format!("/messages/{blocked}?block=true");
    assert_eq!(
        before.call("DELETE", &deletion, &[&auth], "").await.status,
        204
    );

    let during = app_with(&new, &also(&old)).await;
    kept.extend(keep(&during, "during").await);
    for app in [&before, &during] {
        for (digest, text) in &kept {
            expect(app, digest, text).await;
        }
        let again = app
            .post("application/json", r#"{"message":"blocked"}"#)
            .await;
        assert_eq!(again.status, 403);
    }
    drop(before);

    let settings = [
        ("POSTGRES_SHARDS", new.as_str()),
        ("POSTGRES_ALSO_READ", old.as_str()),
    ];
    let move_all = command(&["rebalance"], &settings);
    let read_all = async {
        for (digest, text) in kept.iter().chain(&kept) {
            expect(&during, digest, text).await;
        }
    };
    let (moved, ()) = tokio::join!(move_all, read_all);
    assert!(moved.status.success(), "{}", said(&moved));
    let again = command(&["rebalance"], &settings).await;
    assert_eq!(said(&again), "0 messages moved\n");

    let after = app_with(&new, &[("ADMIN_KEY", KEY)]).await;
    for (digest, text) in &kept {
        expect(&after, digest, text).await;
    }
    let again = after
        .post("application/json", r#"{"message":"blocked"}"#)
        .await;
    assert_eq!(again.status, 403);
    let (a, b) = (
        first.sql(MESSAGES).await.unwrap(),
        second.sql(MESSAGES).await.unwrap(),
    );
    let (a, b): (usize, usize) = (a.parse().unwrap(), b.parse().unwrap());
    assert!(a + b >= 200 && a > 60 && b > 60, "{a} and {b}");
    let without = command(&["rebalance"], &settings[..1]).await;
    assert_eq!(without.status.code(), Some(1));
}
