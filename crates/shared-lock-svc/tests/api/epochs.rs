//! An etcd that was replaced by an empty one, under replicas that go on.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Etcd, Scratch, eventually, free_port};

use crate::{app::TestApp, sse::Events};

const LONG: Duration = Duration::from_secs(50);

/// The answer to an acquire, once locks are granted.
async fn granted(app: &TestApp, key: &str) -> Value {
    eventually("a lock is granted", LONG, async || {
        let wish = json!({ "holder": "me", "ttl_ms": 60_000 });
        let answer = app.acquire(key, wish).await;
        match answer.status.as_u16() {
            201 => Ok(answer.body),
            _ => Err(format!("{answer:?}")),
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_a_token_is_told_the_epoch_of_its_etcd() {
    let (client_port, peer_port) = (free_port().unwrap(), free_port().unwrap());
    let lives = [(); 2].map(|()| Scratch::new("etcd-life").unwrap());
    let etcd = Etcd::open(lives[0].path(), client_port, peer_port)
        .await
        .unwrap();
    let endpoint = etcd.endpoint().to_owned();
    let store = [("STORAGE_TYPE", "etcd"), ("ETCD_ADDR_LIST", &*endpoint)];
    let (here, there) = tokio::join!(TestApp::with(&store), TestApp::with(&store));
    let before = granted(&here, "a").await["token_epoch"].clone();
    assert_eq!(granted(&there, "b").await["token_epoch"], before);
    let mut stream = Events::open(&here, "/v1/events").await;
    granted(&there, "c").await;
    let event = stream.next().await.unwrap();
    assert_eq!(
        (&event.data["key"], &event.data["token_epoch"]),
        (&json!("c"), &before)
    );

    drop(etcd);
    let _etcd = Etcd::open(lives[1].path(), client_port, peer_port)
        .await
        .unwrap();
    let after = granted(&here, "d").await["token_epoch"].clone();
    assert_ne!(after, before);
    assert_eq!(granted(&there, "e").await["token_epoch"], after);
    // What is held is told with the same name.
    for (app, key) in [(&here, "e"), (&there, "d")] {
        eventually("the other's lock is seen", LONG, async || {
            match app.inspect(key).await["holders"][0]["token_epoch"] == after {
                true => Ok(()),
                false => Err("it is not"),
            }
        })
        .await
        .unwrap();
    }
    // A listener hears nothing under a wrong name: its stream ends, and it comes back.
    while let Some(event) = stream.next().await {
        assert!(
            event.data["token_epoch"] == before && event.data["key"] != "d",
            "{event:?}"
        );
    }
    let mut stream = Events::open(&here, "/v1/events").await;
    granted(&there, "f").await;
    let event = stream.next().await.unwrap();
    assert_eq!(
        (&event.data["key"], &event.data["token_epoch"]),
        (&json!("f"), &after)
    );
}
