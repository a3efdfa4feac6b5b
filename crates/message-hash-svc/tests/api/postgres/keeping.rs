//! What every store does, on PostgreSQL.

use std::time::Duration;

use message_hash_svc::digest::Digest;
use serde_json::json;
use testbed::{Postgres, Scratch, eventually};

use super::{ROLE, app, app_with, command, expect, primary, said, url};
use crate::app::App;

const KEY: &str = "of all the ring bearers";
const OCTETS: &str = "content-type: application/octet-stream";

#[tokio::test]
async fn messages_are_kept_mended_deleted_and_expire_as_on_disk() {
    let primary = primary().await;
    let settings = [
        ("ADMIN_KEY", KEY),
        ("MAX_TTL", "1h"),
        ("ANSWER_CREATED", "true"),
    ];
    let app = app_with(&url(&primary), &settings).await;
    every_byte_comes_back(&app).await;
    damage_is_never_shown(&app, &primary).await;
    the_deleted_stay_away(&app).await;
    the_expired_go(&app, &primary).await;
}

async fn every_byte_comes_back(app: &App) {
    let every: Vec<u8> = (0..=255).collect();
    let long = "long ".repeat(2000);
    for body in [&b""[..], b"\0", &every, long.as_bytes()] {
        for status in [201, 200, 200] {
            let post = app.call("POST", "/messages", &[OCTETS], body).await;
            assert_eq!(post.status, status);
        }
        let path = format!("/messages/{}", Digest::of(body));
        let accept = "accept: application/octet-stream";
        assert_eq!(app.call("GET", &path, &[accept], "").await.body, body);
    }
    let batch = json!({
        "put": [{"message": "one"}, {"message": ""}, {"message": "one"}],
        "exists": [Digest::of(b"one").to_string(), Digest::of(b"two").to_string()],
    });
    let content = "content-type: application/json";
    let reply = app
        .call("POST", "/messages:batch", &[content], batch.to_string())
        .await;
    let reply = reply.json();
    assert_eq!(reply["put"][0]["outcome"], "new");
    assert_eq!(reply["put"][1]["outcome"], "known");
    assert_eq!(reply["exists"][0]["exists"], true);
    assert_eq!(reply["exists"][1]["exists"], false);
}

async fn damage_is_never_shown(app: &App, primary: &Postgres) {
    let post = app.call("POST", "/messages", &[OCTETS], "to be hurt").await;
    assert_eq!(post.status, 201);
    let digest = Digest::of(b"to be hurt");
    let hurt = format!(
        "UPDATE message_hash.message SET body = 'hurt' WHERE digest = '\\x{digest}'; \
         SELECT codec FROM message_hash.message WHERE digest = '\\x{digest}'"
    );
    assert_eq!(primary.sql(&hurt).await.unwrap(), "0");
    let path = format!("/messages/{digest}");
    for _ in 0..2 {
        assert_eq!(app.call("GET", &path, &[], "").await.status, 500);
    }
    // It lies where it lay, marked, for people.
    let marked =
        format!("SELECT codec, body FROM message_hash.message WHERE digest = '\\x{digest}'");
    assert_eq!(primary.sql(&marked).await.unwrap(), "16|\\x68757274");
    let auth = format!("authorization: Bearer {KEY}");
    let scrub = app.call("POST", "/admin/scrub", &[&auth], "").await;
    let scrub = String::from_utf8(scrub.body).unwrap();
    assert!(
        scrub.lines().last().unwrap().contains("\"damaged\":1"),
        "{scrub}"
    );
    let post = app.call("POST", "/messages", &[OCTETS], "to be hurt").await;
    assert_eq!(post.status, 200);
    expect(app, &digest, "to be hurt").await;
}

async fn the_deleted_stay_away(app: &App) {
    let auth = format!("authorization: Bearer {KEY}");
    for (message, query, status) in [("a", "", 201), ("b", "?block=true", 403)] {
        let path = format!("/messages/{}", Digest::of(message.as_bytes()));
        assert_eq!(app.call("DELETE", &path, &[&auth], "").await.status, 404);
        assert_eq!(
            app.call("POST", "/messages", &[OCTETS], message)
                .await
                .status,
            201
        );
        assert_eq!(app.call("GET", &path, &[], "").await.status, 200);
        let deletion = format!("{path}{query}");
        assert_eq!(
            app.call("DELETE", &deletion, &[&auth], "").await.status,
            204
        );
        assert_eq!(app.call("GET", &path, &[], "").await.status, 410);
        let again = app.call("POST", "/messages", &[OCTETS], message).await;
        assert_eq!(again.status, status, "{message}");
    }
    let unseen = format!("/messages/{}", Digest::of(b"unseen"));
    let block = format!("{unseen}?block=true");
    assert_eq!(app.call("DELETE", &block, &[&auth], "").await.status, 204);
    assert_eq!(
        app.call("POST", "/messages", &[OCTETS], "unseen")
            .await
            .status,
        403
    );
    let backup = app.call("GET", "/admin/backup", &[&auth], "").await;
    assert_eq!(backup.problem(), (501, "unsupported-by-store".to_owned()));
}

async fn the_expired_go(app: &App, primary: &Postgres) {
    let post = async |query: &str| {
        let path = format!("/messages?ttl_ms={query}");
        app.call("POST", &path, &[OCTETS], "for a while")
            .await
            .status
    };
    assert_eq!(post("1000").await, 201);
    assert_eq!(post("2000").await, 200);
    assert_eq!(post("1").await, 200);
    let digest = Digest::of(b"for a while");
    let count = format!("SELECT count(*) FROM message_hash.message WHERE digest = '\\x{digest}'");
    eventually(
        "the message to be removed",
        Duration::from_secs(30),
        async || {
            let left = primary.sql(&count).await?;
            anyhow::ensure!(left == "0", "{left}");
            Ok(())
        },
    )
    .await
    .unwrap();
    assert_eq!(app.get(&format!("/messages/{digest}")).await.status, 404);
}

#[tokio::test]
async fn the_service_may_neither_make_nor_drop_a_table_and_says_when_the_schema_is_missing() {
    let primary = Postgres::start().await.unwrap();
    primary
        .sql(&format!("CREATE ROLE {ROLE} LOGIN"))
        .await
        .unwrap();
    let data = Scratch::new("unmigrated").unwrap();
    let service = testbed::Service::new("message-hash-svc")
        .env("MESSAGE_HASH_STORE", "postgres")
        .env("MESSAGE_HASH_DATA_DIR", data.path().to_str().unwrap())
        .env("MESSAGE_HASH_POSTGRES_SHARDS", url(&primary))
        .start_listening()
        .await
        .unwrap();
    let caller = crate::app::Caller::of(service.url());
    let unready = caller.get("/readyz").await.unwrap();
    assert_eq!(unready.status, 503);
    assert!(
        unready.body.contains("run `message-hash-svc migrate`"),
        "{unready:?}"
    );

    let owner = primary.url();
    for _ in 0..2 {
        let migrated = command(&["migrate", "--url", &owner, "--grant", ROLE], &[]).await;
        assert_eq!(said(&migrated), "database has schema version 2\n");
    }
    eventually(
        "the service to be ready",
        Duration::from_secs(20),
        async || {
            let answer = caller.get("/readyz").await?;
            anyhow::ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        },
    )
    .await
    .unwrap();
    caller.keep("foo").await.unwrap();
    for forbidden in [
        "DROP TABLE message_hash.message_0",
        "ALTER TABLE message_hash.message ADD x int",
        "CREATE TABLE message_hash.x (x int)",
        "TRUNCATE message_hash.message",
        "DELETE FROM message_hash.migrations",
    ] {
        let sql = format!("SET ROLE {ROLE}; {forbidden}");
        let refused = primary.sql(&sql).await.unwrap_err().to_string();
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn an_embedded_store_is_copied_row_by_row() {
    let primary = primary().await;
    let key = ("ADMIN_KEY", KEY);
    let embedded = App::start_with(&[key, ("MAX_TTL", "1h")]).await;
    let mut kept = Vec::new();
    for number in 0..300 {
        let text = format!("{number} {}", "x".repeat(number * 10));
        kept.push((embedded.keep(&text).await, text));
    }
    let blocked = embedded.keep("blocked").await;
    let path = format!("/messages/{blocked}?block=true");
    let auth = format!("authorization: Bearer {KEY}");
    assert_eq!(
        embedded.call("DELETE", &path, &[&auth], "").await.status,
        204
    );

    let shards = url(&primary);
    let settings = [
        ("DATA_DIR", embedded.data_dir().to_str().unwrap()),
        ("POSTGRES_SHARDS", shards.as_str()),
    ];
    let busy = command(&["copy"], &settings).await;
    assert!(said(&busy).contains("stop it first"), "{}", said(&busy));
    assert!(embedded.service.terminate().await.unwrap().success());
    for _ in 0..2 {
        let copied = command(&["copy"], &settings).await;
        assert!(copied.status.success(), "{}", said(&copied));
        assert!(said(&copied).contains("301 of 301"), "{}", said(&copied));
    }
    let app = app(&shards).await;
    for (digest, text) in &kept {
        expect(&app, digest, text).await;
    }
    let again = app
        .post("application/json", r#"{"message":"blocked"}"#)
        .await;
    assert_eq!(again.status, 403);
}
