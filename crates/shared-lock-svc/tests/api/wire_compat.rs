//! The tentens-tech/shared-lock wire: statuses, bodies and headers, byte for byte.

use crate::app::{Raw, TestApp};

const PLAIN: &str = "text/plain; charset=utf-8";

fn assert_bare_id(answer: &Raw, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.parse::<i64>().unwrap() > 0, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some(PLAIN));
    assert_eq!(answer.header("x-content-type-options"), None);
    let length = answer.body.len().to_string();
    assert_eq!(answer.header("content-length"), Some(&*length));
}

fn assert_empty(answer: &Raw, status: u16) {
    assert_eq!((answer.status, &*answer.body), (status, ""), "{answer:?}");
    assert_eq!(answer.header("content-type"), None);
    assert_eq!(answer.header("content-length"), Some("0"));
}

fn assert_error_text(answer: &Raw, status: u16, text: &str) {
    assert_eq!((answer.status, &*answer.body), (status, text), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some(PLAIN));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let length = text.len().to_string();
    assert_eq!(answer.header("content-length"), Some(&*length));
}

/// The example calls of its own documentation.
#[tokio::test]
async fn the_documented_calls_answer_as_documented() {
    TestApp::on_each_store(async |app| {
        let headers = "content-type: application/json\r\nx-lease-ttl: 60s\r\n";
        let created = app.lease(headers, r#"{"key": "value"}"#).await;
        assert_bare_id(&created, 201);
        let accepted = app.lease(headers, r#"{"key": "value"}"#).await;
        assert_bare_id(&accepted, 202);
        assert_eq!(accepted.body, created.body);
        assert_empty(&app.prolong(&created.body).await, 200);
        let unknown = app
            .call(
                "POST",
                "/keepalive",
                "content-type: application/json\r\n",
                "12345",
            )
            .await;
        assert_lost(&unknown);
        assert_empty(&app.call("GET", "/health", "", "").await, 200);
    })
    .await;
}

fn assert_lost(answer: &Raw) {
    assert_eq!((answer.status, &*answer.body), (204, ""), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some(PLAIN));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-length"), None);
}

#[tokio::test]
async fn any_method_will_do() {
    TestApp::on_each_store(async |app| {
        for method in ["POST", "GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            let body = format!(r#"{{"key":"{method}"}}"#);
            let created = app.call(method, "/lease", "", &body).await;
            assert_bare_id(&created, 201);
            assert_empty(
                &app.call(method, "/keepalive", "", &created.body).await,
                200,
            );
            let accepted = app.call(method, "/lease", "", &body).await;
            assert_bare_id(&accepted, 202);
        }
        let created = app.call("HEAD", "/lease", "", r#"{"key":"HEAD"}"#).await;
        assert_eq!((created.status, &*created.body), (201, ""));
        assert_eq!(created.header("content-type"), Some(PLAIN));
        let lost = app.call("HEAD", "/keepalive", "", "1").await;
        assert_lost(&lost);
    })
    .await;
}

#[tokio::test]
async fn bodies_that_go_takes_are_taken() {
    TestApp::on_each_store(async |app| {
        let bodies: [&[u8]; 12] = [
            b"null",
            b" {\"key\":\"blanks\"} \r\n\t",
            br#"{"KEY":"case","Value":"v","LABELS":{"a":null},"TimeStamp":null}"#,
            br#"{"key":"unknown","other":[1,{"a":2}]}"#,
            br#"{"key":"first","key":"last"}"#,
            br#"{"key":"labels","labels":{"app":"web"},"timestamp":"2026-11-23T12:00:00.5+01:00"}"#,
            br#"{"key":"a/b"}"#,
            br#"{"key":"null value","value":null}"#,
            br#"{"key":"\u0000"}"#,
            b"{\"key\":\"raw \xff\"}",
            br#"{"key":"half \ud83d"}"#,
            br#"{"key":"control","value":"a\nb"}"#,
        ];
        for body in bodies {
            let answer = app.lease("", body).await;
            assert_bare_id(&answer, 201);
        }
        // What is not UTF-8 has become U+FFFD: the same key, spelled otherwise.
        for same in [
            &br#"{"key":"raw \ufffd"}"#[..],
            "{\"key\":\"half \u{fffd}\"}".as_bytes(),
            b"{}",
            br#"{"key":"last"}"#,
        ] {
            assert_bare_id(&app.lease("", same).await, 202);
        }
        let first = app.lease("", br#"{"key":"first"}"#).await;
        assert_bare_id(&first, 201);
    })
    .await;
}

#[tokio::test]
async fn bodies_that_go_refuses_are_refused_in_its_words() {
    TestApp::on_each_store(async |app| {
        for body in [
            "",
            "x",
            "[]",
            "1",
            "\"k\"",
            r#"{"key":1}"#,
            r#"{"value":true}"#,
            r#"{"key":"k"} x"#,
            r#"{"key":"k",}"#,
            r#"{"labels":{"a":1}}"#,
            r#"{"labels":[]}"#,
            r#"{"timestamp":""}"#,
            r#"{"timestamp":"2026-11-23"}"#,
            r#"{"timestamp":1}"#,
            "{\"key\":\"a\nb\"}",
            "\u{feff}{}",
        ] {
            let answer = app.lease("", body).await;
            assert_error_text(&answer, 400, "Failed to unmarshal request body\n");
        }
        let long = format!(r#"{{"key":"{}"}}"#, "k".repeat(1025));
        let answer = app.lease("", long).await;
        assert_error_text(&answer, 400, "key: must be at most 1024 bytes, was 1025\n");
        let longest = format!(r#"{{"key":"{}"}}"#, "k".repeat(1024));
        assert_bare_id(&app.lease("", longest).await, 201);
    })
    .await;
}

#[tokio::test]
async fn a_keepalive_takes_a_decimal_number_and_nothing_around_it() {
    TestApp::on_each_store(async |app| {
        let id = app.lease("", "{}").await.body;
        assert_empty(&app.prolong(&id).await, 200);
        assert_empty(&app.prolong(format!("+{id}")).await, 200);
        assert_empty(&app.prolong(format!("00{id}")).await, 200);
        for body in [
            "",
            "+",
            "-",
            "x",
            &format!("{id}\n"),
            &format!(" {id}"),
            &format!("\"{id}\""),
            &format!("{{\"id\":{id}}}"),
            "0x1f",
            "1_000",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "\u{661}",
        ] {
            assert_empty(&app.prolong(body).await, 500);
        }
        for body in [
            "0",
            "-1",
            "1",
            "-0",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert_lost(&app.prolong(body).await);
        }
    })
    .await;
}

#[tokio::test]
async fn paths_are_as_gos_router_has_them() {
    TestApp::on_each_store(async |app| {
        for path in ["/lease/", "/keepalive/"] {
            let answer = app.call("POST", path, "", "{}").await;
            assert_error_text(&answer, 404, "404 page not found\n");
        }
        for (path, to) in [
            ("//lease", "/lease"),
            ("/a/../lease?x=1", "/lease?x=1"),
            ("/./keepalive", "/keepalive"),
            ("/lease/.", "/lease"),
        ] {
            let answer = app.call("POST", path, "", "{}").await;
            assert_eq!(
                (answer.status, answer.header("location")),
                (301, Some(to)),
                "{path}"
            );
        }
        let answer = app
            .call("POST", "/lease?ttl=1s&x", "", r#"{"key":"query"}"#)
            .await;
        assert_bare_id(&answer, 201);
        for path in [
            "/",
            "/leases",
            "/Lease",
            "/lease/x",
            "/metric",
            "/debug/pprof/",
            "/v2/locks",
        ] {
            for method in ["GET", "POST"] {
                let answer = app.call(method, path, "", "").await;
                assert_error_text(&answer, 404, "404 page not found\n");
            }
        }
        let answer = app.call("GET", "//lease?a=1&b=2", "", "").await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (301, Some("/lease?a=1&b=2"))
        );
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(
            answer.body,
            "<a href=\"/lease?a=1&amp;b=2\">Moved Permanently</a>.\n\n"
        );
        for path in ["/v1/", "/v1/locksmith", "/v1//locks"] {
            let answer = app.call("GET", path, "", "").await;
            assert_eq!(answer.status, 404, "{path}");
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json"),
                "{path}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn content_type_and_framing_do_not_matter() {
    TestApp::on_each_store(async |app| {
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    assert_bare_id(&app.lease(form, r#"{"key":"form"}"#).await, 201);
    let chunked = "POST /lease HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
                   transfer-encoding: chunked\r\n\r\n5\r\n{\"key\r\n9\r\n\":\"parts\"\r\n1\r\n}\r\n0\r\n\r\n";
    assert_bare_id(&app.raw(chunked).await, 201);
    let answer = app.lease("", r#"{"key":"parts"}"#).await;
    assert_bare_id(&answer, 202);
    let encoded = app
        .lease("content-encoding: gzip\r\n", r#"{"key":"encoded"}"#)
        .await;
    assert_bare_id(&encoded, 201);
    })
    .await;
}

#[tokio::test]
async fn a_body_may_be_as_large_as_etcd_takes() {
    TestApp::on_each_store(async |app| {
        let value = |bytes: usize| format!(r#"{{"key":"large","value":"{}"}}"#, "v".repeat(bytes));
        assert_empty(&app.lease("", value(1536 * 1024)).await, 500);
        assert_bare_id(&app.lease("", value(1500 * 1024)).await, 201);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_refused_in_its_words() {
    let app = TestApp::with(&[("SERVER_READ_TIMEOUT", "1s")]).await;
    for path in ["/lease", "/keepalive"] {
        let late = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{{"
        );
        let answer = app.raw(late).await;
        assert_error_text(&answer, 400, "Failed to read request body\n");
    }
}
