//! SIGKILL under load, again and again, on one data directory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use message_hash_svc::digest::Digest;
use testbed::eventually;

use crate::app::{App, Caller, message};

const POSTERS: usize = 16;

type Acknowledged = Arc<Mutex<Vec<(Digest, String)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_is_there_after_each_kill() {
    let app = App::start().await;
    let all: Acknowledged = Arc::default();
    for round in 0..8 {
        let posters = (0..POSTERS).map(|poster| {
            let (caller, acknowledged) = (app.caller(), Arc::clone(&all));
            tokio::spawn(post_until_it_dies(
                caller,
                format!("{round}/{poster}"),
                acknowledged,
            ))
        });
        let posters: Vec<_> = posters.collect();
        let enough = all.lock().unwrap().len() + 60 + round * 23;
        eventually(
            "posts to be acknowledged",
            Duration::from_secs(30),
            async || {
                let count = all.lock().unwrap().len();
                if count < enough {
                    Err(format!("{count} of {enough}"))
                } else {
                    Ok(())
                }
            },
        )
        .await
        .unwrap();
        app.service.kill().unwrap();
        join_all(posters).await;
        app.service.restart().await.unwrap();
        check(&app.caller(), &all).await;
    }
}

async fn post_until_it_dies(caller: Caller, poster: String, acknowledged: Acknowledged) {
    for number in 0.. {
        // Most messages are new, some the same for all posters: those are first and duplicate at once.
        let message = if number % 5 == 0 {
            format!("from all, {number}")
        } else {
            format!(
                "from {poster}, {number}, {}",
                "x".repeat(number * 37 % 3000)
            )
        };
        let Ok(digest) = caller.keep(&message).await else {
            return;
        };
        acknowledged.lock().unwrap().push((digest, message));
    }
}

async fn check(caller: &Caller, acknowledged: &Acknowledged) {
    let all = acknowledged.lock().unwrap().clone();
    for some in all.chunks(64) {
        let lookups = some.iter().map(|(digest, text)| async move {
            let found = caller.look_up(digest).await.unwrap();
            assert_eq!(found, message(text), "{digest}");
        });
        join_all(lookups).await;
    }
}
