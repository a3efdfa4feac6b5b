//! The message challenge, replayed: its calls and its answers.

use message_hash_svc::digest::Digest;

use crate::app::{Answer, App, message, not_found};

const FOO: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

fn digest(digest: &str) -> Answer {
    Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        retry_after: None,
        body: format!(r#"{{"digest": "{digest}"}}"#),
    }
}

#[tokio::test]
async fn the_published_calls_get_the_published_answers() {
    let app = App::start().await;
    // curl -i http://host/messages/aaaa…
    assert_eq!(
        app.get(&format!("/messages/{}", "a".repeat(64))).await,
        not_found()
    );
    // curl http://host/messages/2c26… before anybody posted it
    assert_eq!(app.get(&format!("/messages/{FOO}")).await, not_found());
    // curl -X POST -H "Content-Type: application/json" -d '{"message": "foo"}' http://host/messages
    assert_eq!(
        app.post("application/json", r#"{"message": "foo"}"#).await,
        digest(FOO)
    );
    // curl http://host/messages/2c26…
    let found = app.get(&format!("/messages/{FOO}")).await;
    assert_eq!(found, message("foo"));
    assert_eq!(found.body, r#"{"message": "foo"}"#);
}

#[tokio::test]
async fn posting_again_answers_the_same_and_writes_nothing() {
    let app = App::start().await;
    for _ in 0..3 {
        assert_eq!(
            app.post("application/json", r#"{"message":"foo"}"#).await,
            digest(FOO)
        );
    }
    assert_eq!(app.metric("message_hash_commit_posts_count").await, 1.0);
    assert_eq!(
        app.metric("message_hash_posts_total{outcome=\"known\"}")
            .await,
        2.0
    );
}

#[tokio::test]
async fn a_message_comes_back_exactly_as_it_was() {
    let app = App::start().await;
    for text in [
        "",
        "foo\n",
        " foo ",
        "\0",
        "a\0b\u{1}\u{1f}\u{7f}",
        "\"quoted\" \\ / \u{8}\u{c}\r\t",
        "e\u{301} is not \u{e9}",
        "\u{feff}bom",
        "𝄞 \u{10ffff} \u{fffe}",
        "'); DROP TABLE messages; --",
        r#"{"message": "in a message"}"#,
    ] {
        let digest = app.keep(text).await;
        assert_eq!(digest, Digest::of(text.as_bytes()));
        assert_eq!(
            app.get(&format!("/messages/{digest}")).await,
            message(text),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn every_way_to_write_the_same_string_is_the_same_message() {
    let app = App::start().await;
    for body in [
        r#"{"message":"foo"}"#,
        "\r\n\t {\n   \"message\"  :\t\"foo\"\n}\n",
        r#"{"message":"\u0066\u006F\u006f"}"#,
        r#"{"m\u0065ssage":"foo"}"#,
        r#"{"unknown":[{"message":"bar"}],"message":"foo","Message":1}"#,
    ] {
        assert_eq!(
            app.post("application/json", body).await,
            digest(FOO),
            "{body}"
        );
    }
    let body = r#"{"message":"\ud834\udd1e"}"#;
    let clef = Digest::of("𝄞".as_bytes()).to_string();
    assert_eq!(
        app.post("Application/JSON; charset=utf-8", body).await,
        digest(&clef)
    );
}

#[tokio::test]
async fn what_is_no_digest_names_no_message() {
    let app = App::start().await;
    app.keep("foo").await;
    let upper = FOO.to_uppercase();
    let (shorter, longer) = (&FOO[1..], format!("{FOO}0"));
    for text in [
        "",
        "foo",
        shorter,
        &longer,
        &upper,
        "a/b",
        "..%2fetc",
        "%00",
        "%ff",
        "'%20OR%201=1--",
        &format!("{FOO}/"),
        &format!("{FOO}%0a"),
        &"a".repeat(5000),
    ] {
        assert_eq!(
            app.get(&format!("/messages/{text}")).await,
            not_found(),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_chunked_post_is_a_post() {
    let app = App::start().await;
    let request = "POST /messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
        content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
        8\r\n{\"messag\r\n5\r\ne\":\"f\r\n4\r\noo\"}\r\n0\r\n\r\n";
    let answer = app.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.ends_with(&format!("\r\n\r\n{{\"digest\": \"{FOO}\"}}")),
        "{answer}"
    );
}

#[tokio::test]
async fn the_largest_message_is_kept_however_it_is_written() {
    let app = App::start().await;
    let limit = 1024 * 1024;
    for text in ["a".repeat(limit), "\0".repeat(limit), "é".repeat(limit / 2)] {
        let digest = app.keep(&text).await;
        assert!(app.get(&format!("/messages/{digest}")).await == message(&text));
    }
}
