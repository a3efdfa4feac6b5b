//! A program of which only one instance works, however many run: `cargo run --example single_instance -- URL`.

use std::time::Duration;

use lock_client::{AcquireOptions, ClientOptions, Error, LockClient};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let holder = format!("instance-{}", std::process::id());
    let locks = LockClient::new(ClientOptions::new([url], holder))?;
    let options = AcquireOptions {
        wait: Duration::from_secs(60),
        ..AcquireOptions::default()
    };

    let guard = locks.acquire("single-instance", options).await?;
    // Whatever comes first: the work is done, or the lock is no longer surely ours.
    tokio::select! {
        () = work(guard.fencing_token()) => guard.release().await,
        () = guard.lost() => Err(Error::Lost { key: guard.key().to_owned() }),
    }
}

/// Every write of it carries the token, so that whoever keeps the data can refuse an older one.
async fn work(fencing_token: u64) {
    eprintln!("working under token {fencing_token}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
