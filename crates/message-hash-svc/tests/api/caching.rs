//! What callers and caches between us and them may keep: tags, parts, digests, ages.

use message_hash_svc::digest::Digest;

use crate::app::App;

const FOO: &str = "/messages/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
const JSON: &str = "accept: application/json";
const OCTETS: &str = "accept: application/octet-stream";
const TEXT: &str = "accept: text/plain";

#[tokio::test]
async fn each_form_has_a_strong_tag_of_its_own() {
    let app = App::start().await;
    app.keep("foo").await;
    let mut tags = Vec::new();
    for accept in [JSON, TEXT, OCTETS] {
        let full = app.call("GET", FOO, &[accept], "").await;
        assert_eq!(full.header("vary"), "Accept");
        assert_eq!(
            full.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        let tag = full.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        assert!(!tags.contains(&tag), "{tag}");
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let header = format!("if-none-match: {known}");
            let unchanged = app.call("GET", FOO, &[accept, &header], "").await;
            assert_eq!(
                (unchanged.status, unchanged.body.len()),
                (304, 0),
                "{known}"
            );
            assert_eq!(unchanged.header("etag"), tag);
            assert_eq!(unchanged.header("vary"), "Accept");
        }
        tags.push(tag);
    }
    for unknown in ["\"x,*,y\"", "*, \"x\"", "x, *"] {
        let header = format!("if-none-match: {unknown}");
        let full = app.call("GET", FOO, &[OCTETS, &header], "").await;
        assert_eq!(full.status, 200, "{unknown}");
    }
    let lines = [
        "if-none-match: \"a,b\"",
        &format!("if-none-match: ,{}", tags[2]),
    ];
    let known = app
        .call("GET", FOO, &[OCTETS, lines[0], lines[1]], "")
        .await;
    assert_eq!(known.status, 304);
    let other = format!("if-none-match: {}", tags[0]);
    assert_eq!(
        app.call("GET", FOO, &[OCTETS, &other], "").await.status,
        200
    );
    let absent = format!("/messages/{}", "a".repeat(64));
    let absent = app.call("GET", &absent, &["if-none-match: *"], "").await;
    assert_eq!(
        (absent.status, absent.header("cache-control")),
        (404, "no-store")
    );
}

#[tokio::test]
async fn a_head_has_the_headers_of_a_get_and_no_body() {
    let app = App::start().await;
    app.keep("foo").await;
    for accept in [JSON, OCTETS] {
        let get = app.call("GET", FOO, &[accept], "").await;
        let head = app.call("HEAD", FOO, &[accept], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in [
            "content-length",
            "content-type",
            "etag",
            "content-digest",
            "cache-control",
        ] {
            assert!(!get.header(name).is_empty(), "{name}");
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
    }
    let absent = format!("/messages/{}", "a".repeat(64));
    assert_eq!(app.call("HEAD", &absent, &[], "").await.status, 404);
}

#[tokio::test]
async fn the_content_digest_is_that_of_the_bytes_sent() {
    let app = App::start().await;
    for text in ["foo", "with \"quotes\"", ""] {
        let path = format!("/messages/{}", app.keep(text).await);
        for headers in [
            &[JSON][..],
            &[TEXT],
            &[OCTETS],
            &[OCTETS, "range: bytes=1-1"],
        ] {
            let reply = app.call("GET", &path, headers, "").await;
            if reply.status == 416 {
                continue;
            }
            let put = app
                .call(
                    "POST",
                    "/messages",
                    &[
                        "content-type: application/octet-stream",
                        &format!("content-digest: {}", reply.header("content-digest")),
                    ],
                    reply.body.clone(),
                )
                .await;
            assert_eq!(put.status, 200, "{headers:?}");
            assert_eq!(put.json()["digest"], Digest::of(&reply.body).to_string());
        }
    }
}

#[tokio::test]
async fn a_promised_digest_is_read_as_a_dictionary() {
    let app = App::start().await;
    let good = "sha-256=:LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=:";
    let bad = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    for (promised, status) in [
        (format!("{good};p=1"), 200),
        (format!("x=1, {good}, sha-512=:AA==:"), 200),
        (format!("{bad}, {good}"), 200),
        (format!("{good}, {bad}"), 422),
        ("sha-256=1".to_owned(), 400),
        ("sha-256=:AA==:".to_owned(), 400),
        ("sha-256".to_owned(), 400),
    ] {
        let header = format!("content-digest: {promised}");
        let text = "content-type: text/plain";
        let answer = app.call("POST", "/messages", &[text, &header], "foo").await;
        assert_eq!(answer.status, status, "{promised}");
    }
    // Of several lines, all.
    let lines = [
        "content-type: text/plain",
        "content-digest: sha-512=:AA==:",
        &format!("content-digest: {bad}"),
    ];
    let answer = app.call("POST", "/messages", &lines, "foo").await;
    assert_eq!(answer.status, 422, "{answer:?}");
}

#[tokio::test]
async fn a_part_of_the_bytes_can_be_had() {
    let app = App::start().await;
    let digest = app.keep("0123456789").await;
    let path = format!("/messages/{digest}");
    for (range, part, place) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-1", "9", "bytes 9-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ("bytes=9-99", "9", "bytes 9-9/10"),
    ] {
        let header = format!("range: {range}");
        for accept in [OCTETS, TEXT] {
            let reply = app.call("GET", &path, &[accept, &header], "").await;
            assert_eq!((reply.status, reply.header("content-range")), (206, place));
            assert_eq!(reply.body, part.as_bytes(), "{range}");
            assert_eq!(reply.header("accept-ranges"), "bytes");
        }
        let json = app.call("GET", &path, &[JSON, &header], "").await;
        assert_eq!((json.status, json.header("content-range")), (200, ""));
    }
    for range in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
        let header = format!("range: {range}");
        let reply = app.call("GET", &path, &[OCTETS, &header], "").await;
        assert_eq!(
            (reply.status, reply.header("content-range")),
            (416, "bytes */10")
        );
    }
    for range in [
        "bytes=0-1,3-4",
        "bytes=3-1",
        "lines=1-2",
        "bytes=a-b",
        "bytes=+0-3",
        "bytes=0-+3",
        "bytes=-+3",
        "bytes=-",
    ] {
        let header = format!("range: {range}");
        let reply = app.call("GET", &path, &[OCTETS, &header], "").await;
        assert_eq!((reply.status, reply.body.len()), (200, 10), "{range}");
    }
    let part = "range: bytes=0-3";
    let (same, other) = (format!("if-range: \"{digest}\""), "if-range: \"x\"");
    let reply = app.call("GET", &path, &[OCTETS, part, &same], "").await;
    assert_eq!(reply.status, 206);
    assert_eq!(
        app.call("GET", &path, &[OCTETS, part, other], "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_message_that_was_just_given_back_comes_from_memory() {
    let app = App::start().await;
    let digest = app.keep("foo").await;
    let count = "message_hash_lookups_total{outcome=\"cached\"}";
    for cached in [0.0, 1.0, 2.0] {
        assert_eq!(app.get(&format!("/messages/{digest}")).await.status, 200);
        assert_eq!(app.metric(count).await, cached);
    }
    let uncached = App::start_with(&[("CACHE_BYTES", "0")]).await;
    let digest = uncached.keep("foo").await;
    for _ in 0..3 {
        assert_eq!(
            uncached.get(&format!("/messages/{digest}")).await.status,
            200
        );
    }
    assert_eq!(uncached.metric(count).await, 0.0);
}

#[tokio::test]
async fn the_cache_stays_within_its_bytes() {
    let app = App::start_with(&[("CACHE_BYTES", "200000")]).await;
    for number in 0..100 {
        let digest = app.keep(&format!("{number} {}", "x".repeat(8000))).await;
        assert_eq!(app.get(&format!("/messages/{digest}")).await.status, 200);
    }
    let bytes = app.metric("message_hash_cache_bytes").await;
    assert!(bytes > 50_000.0 && bytes <= 200_000.0, "{bytes}");
    // More than a sixteenth of it is not let in.
    let large = app.keep(&"y".repeat(20_000)).await;
    for _ in 0..2 {
        assert_eq!(app.get(&format!("/messages/{large}")).await.status, 200);
    }
    let count = "message_hash_lookups_total{outcome=\"cached\"}";
    assert_eq!(app.metric(count).await, 0.0);
}
