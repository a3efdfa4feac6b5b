//! A disk that gives back something else than it was given.

use durable::{Durable, WriteError};
use message_hash_svc::store::embedded::EmbeddedStore;

use crate::app::{App, message};

#[tokio::test]
async fn a_damaged_message_is_never_shown_and_posting_it_again_mends_it() {
    let app = App::start().await;
    let digest = app.keep("the message").await;
    let other = app.keep("another one").await;
    assert!(app.service.terminate().await.unwrap().success());

    let table = Durable::open(app.data_dir(), EmbeddedStore::options()).unwrap();
    let key = *digest.as_bytes();
    table
        .transact(move |tx| {
            let mut row = tx.get("messages", &key)?.expect("the row of the message");
            *row.last_mut().expect("a body") ^= 1;
            tx.put("messages", &key, &row);
            Ok::<_, WriteError>(())
        })
        .await
        .unwrap();
    table.close().await;
    app.service.restart().await.unwrap();

    let path = format!("/messages/{digest}");
    let answer = app.get(&path).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.content_type, "application/json");
    assert_eq!(
        answer.body,
        r#"{"err_msg": "the message is damaged in the store"}"#
    );
    assert_eq!(app.metric("message_hash_damaged_bodies_total").await, 1.0);
    let logged = |line: &str| line.contains("ERROR") && line.contains(&digest.to_string());
    assert!(app.service.logs().text().lines().any(logged));
    assert_eq!(
        app.get(&format!("/messages/{other}")).await,
        message("another one")
    );

    assert_eq!(app.keep("the message").await, digest);
    assert_eq!(app.get(&path).await, message("the message"));
}
