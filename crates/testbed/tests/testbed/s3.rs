//! The S3 server: conditional writes that hold, and versions where a bucket keeps them.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use testbed::S3;
use tokio::task::JoinSet;

/// What became of a PUT with one condition: the status and the ETag.
async fn put(s3: &S3, path: &str, condition: (&'static str, &str), body: &str) -> (u16, String) {
    let (name, value) = condition;
    let name = HeaderName::from_static(name);
    let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
    let answer = s3.call(Method::PUT, path, headers, body).await.unwrap();
    let tag = answer.headers().get("etag").map(HeaderValue::to_str);
    let tag = tag.transpose().unwrap().unwrap_or_default().to_owned();
    (answer.status().as_u16(), tag)
}

async fn get(s3: &S3, path: &str) -> String {
    let answer = s3
        .call(Method::GET, path, HeaderMap::new(), "")
        .await
        .unwrap();
    answer.text().await.unwrap()
}

/// How many of 12 racing PUTs with the same condition succeed; each has a body of its own.
async fn winners(s3: &Arc<S3>, path: &'static str, condition: (&'static str, String)) -> usize {
    let mut race = JoinSet::new();
    for racer in 0..12 {
        let (s3, condition) = (Arc::clone(s3), condition.clone());
        race.spawn(async move {
            put(&s3, path, (condition.0, &condition.1), &format!("{racer}"))
                .await
                .0
        });
    }
    let statuses = race.join_all().await;
    let lost = |status: &&u16| matches!(status, 409 | 412);
    let won = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(
        won + statuses.iter().filter(lost).count(),
        12,
        "{statuses:?}"
    );
    won
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_conditional_puts_at_once_exactly_one_wins() {
    let s3 = Arc::new(S3::start().await.unwrap());
    s3.bucket("plain").await.unwrap();
    s3.versioned_bucket("versioned").await.unwrap();
    for path in ["plain/a/lock", "versioned/a/lock"] {
        assert_eq!(winners(&s3, path, ("if-none-match", "*".into())).await, 1);
        for round in 0..3 {
            let (status, tag) = put(&s3, path, ("x-amz-meta-x", "y"), &format!("r{round}")).await;
            assert_eq!(status, 200);
            assert_eq!(winners(&s3, path, ("if-match", tag)).await, 1);
        }
    }
}

#[tokio::test]
async fn a_put_on_what_has_changed_is_refused_and_leaves_it() {
    let s3 = S3::start().await.unwrap();
    s3.bucket("plain").await.unwrap();
    let (status, first) = put(&s3, "plain/lock", ("if-none-match", "*"), "one").await;
    assert_eq!(status, 200);
    let (status, second) = put(&s3, "plain/lock", ("if-match", &first), "two").await;
    assert_eq!(status, 200);
    assert_ne!(first, second);
    let (status, _) = put(&s3, "plain/lock", ("if-match", &first), "three").await;
    assert_eq!(status, 412);
    let (status, _) = put(&s3, "plain/lock", ("if-none-match", "*"), "four").await;
    assert_eq!(status, 412);
    s3.restart().await.unwrap();
    assert_eq!(get(&s3, "plain/lock").await, "two");
}

#[tokio::test]
async fn only_a_versioned_bucket_keeps_what_was_written_over() {
    let s3 = S3::start().await.unwrap();
    s3.bucket("plain").await.unwrap();
    s3.versioned_bucket("versioned").await.unwrap();
    for (bucket, kept) in [("plain", 1), ("versioned", 2)] {
        for body in ["one", "two"] {
            put(&s3, &format!("{bucket}/lock"), ("x-amz-meta-x", "y"), body).await;
        }
        let versions = get(&s3, &format!("{bucket}?versions&prefix=lock")).await;
        assert_eq!(versions.matches("<Version>").count(), kept, "{versions}");
    }
}
