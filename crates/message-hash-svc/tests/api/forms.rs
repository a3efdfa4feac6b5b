//! The same bytes in every form that they can be posted and given in.

use message_hash_svc::digest::Digest;

use crate::app::App;

const FORM: &str = "content-type: application/x-www-form-urlencoded";
const OCTETS: &str = "content-type: application/octet-stream";
const TEXT: &str = "content-type: text/plain; charset=UTF-8";

#[tokio::test]
async fn a_message_has_one_digest_however_it_is_posted() {
    let app = App::start().await;
    let digest = Digest::of(b"a b+c=\0&");
    for (content_type, body) in [
        (
            "content-type: application/json",
            r#"{"message":"a b+c=\u0000&"}"#,
        ),
        (TEXT, "a b+c=\0&"),
        (OCTETS, "a b+c=\0&"),
        (FORM, "other=1&message=a+b%2Bc=%00%26&more"),
    ] {
        let reply = app.call("POST", "/messages", &[content_type], body).await;
        assert_eq!(reply.status, 200, "{content_type}");
        assert_eq!(reply.json()["digest"], digest.to_string(), "{content_type}");
    }
    let reply = app
        .call("POST", "/messages", &[TEXT, "accept: text/plain"], "foo")
        .await;
    assert_eq!(reply.body, Digest::of(b"foo").to_string().as_bytes());
}

#[tokio::test]
async fn bytes_come_back_exactly_whatever_they_are() {
    let app = App::start().await;
    let every: Vec<u8> = (0..=255).collect();
    for (body, is_text) in [
        (&b""[..], true),
        (b"\0", true),
        (b"foo\r\n", true),
        ("\u{feff}é".as_bytes(), true),
        (&every, false),
        (b"\xed\xa0\x80", false),
    ] {
        let reply = app.call("POST", "/messages", &[OCTETS], body).await;
        let digest = Digest::of(body);
        assert_eq!(reply.json()["digest"], digest.to_string());
        let path = format!("/messages/{digest}");
        let octets = app
            .call("GET", &path, &["accept: application/octet-stream"], "")
            .await;
        assert_eq!((octets.status, octets.body.as_slice()), (200, body));
        let text = app.call("GET", &path, &["accept: text/plain"], "").await;
        let json = app
            .call("GET", &path, &["accept: application/json"], "")
            .await;
        let any = app.call("GET", &path, &["accept: */*"], "").await;
        if is_text {
            assert_eq!((text.status, text.body.as_slice()), (200, body));
            assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
            let message = std::str::from_utf8(body).unwrap();
            assert_eq!(json.json(), serde_json::json!({ "message": message }));
            assert_eq!(any.body, json.body);
        } else {
            assert_eq!((text.status, json.status), (406, 406));
            assert!(json.json()["err_msg"].is_string());
            assert_eq!(any.body, body);
            assert_eq!(any.header("content-type"), "application/octet-stream");
        }
    }
    let path = format!("/messages/{}", Digest::of(b""));
    let nothing = app.call("GET", &path, &["accept: text/html"], "").await;
    assert_eq!(nothing.status, 406);
}

#[tokio::test]
async fn a_put_keeps_only_what_has_the_digest_of_its_path() {
    let app = App::start().await;
    let digest = Digest::of(b"foo");
    let path = format!("/messages/{digest}");
    let wrong = app.call("PUT", &path, &[OCTETS], "bar").await;
    assert_eq!(wrong.problem(), (422, "digest-mismatch".to_owned()));
    assert_eq!(app.call("GET", &path, &[], "").await.status, 404);
    let other = format!("/messages/{}", Digest::of(b"bar"));
    assert_eq!(app.call("GET", &other, &[], "").await.status, 404);

    let new = app.call("PUT", &path, &[OCTETS], "foo").await;
    assert_eq!((new.status, new.header("location")), (201, path.as_str()));
    assert_eq!(app.call("PUT", &path, &[OCTETS], "foo").await.status, 200);
    let upper = format!("/messages/{}", digest.to_string().to_uppercase());
    let upper = app.call("PUT", &upper, &[OCTETS], "foo").await;
    assert_eq!(upper.problem(), (422, "invalid".to_owned()));
}

#[tokio::test]
async fn a_body_that_is_not_what_its_content_digest_says_is_not_kept() {
    let app = App::start().await;
    let foo =
        "content-digest: sha-512=:AA==:, sha-256=:LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=:";
    assert_eq!(
        app.call("POST", "/messages", &[OCTETS, foo], "foo")
            .await
            .status,
        200
    );
    let wrong = app.call("POST", "/messages", &[OCTETS, foo], "bar").await;
    assert_eq!(wrong.status, 422);
    let nonsense = ["content-digest: sha-256=foo", OCTETS];
    let nonsense = app.call("POST", "/messages", &nonsense, "foo").await;
    assert_eq!(nonsense.status, 400);
    let bar = format!("/messages/{}", Digest::of(b"bar"));
    assert_eq!(app.call("GET", &bar, &[], "").await.status, 404);
}

#[tokio::test]
async fn new_messages_are_created_where_that_is_asked_for() {
    let app = App::start_with(&[("ANSWER_CREATED", "true")]).await;
    let created = app.call("POST", "/messages", &[TEXT], "foo").await;
    let place = format!("/messages/{}", Digest::of(b"foo"));
    assert_eq!(
        (created.status, created.header("location")),
        (201, place.as_str())
    );
    let known = app.call("POST", "/messages", &[TEXT], "foo").await;
    assert_eq!((known.status, known.header("location")), (200, ""));
}
