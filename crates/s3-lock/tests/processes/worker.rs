//! A process that takes its turn again and again, until it is killed.

use std::time::Duration;

use s3_lock::{
    Conditional, Error, Guard, S3Lock, Strategy, Versioned,
    bucket::{Bucket, Keys, S3Options},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::sleep,
};

use crate::TIMEOUT;

pub(crate) async fn work(strategy: &str, endpoint: &str, bucket: &str, resource: &str) {
    let bucket = Bucket::new(options(endpoint, bucket)).unwrap();
    match strategy {
        "conditional" => {
            let lock = S3Lock::<Conditional>::new(bucket, "turns", TIMEOUT).unwrap();
            turn_after_turn(lock, resource, Guard::<Conditional>::fencing_token).await;
        }
        _ => {
            let lock = S3Lock::<Versioned>::new(bucket, "turns", TIMEOUT).unwrap();
            turn_after_turn(lock, resource, |_| 0).await;
        }
    }
}

pub(crate) fn options(endpoint: &str, bucket: &str) -> S3Options {
    S3Options {
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        keys: Some(Keys {
            access_key: "holdfast".to_owned(),
            secret_key: "holdfast-secret".to_owned().into(),
        }),
        ..S3Options::new("us-east-1", bucket)
    }
}

async fn turn_after_turn<S: Strategy>(
    lock: S3Lock<S>,
    resource: &str,
    token: impl Fn(&Guard<S>) -> u64,
) {
    let stream = TcpStream::connect(resource).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut resource = BufReader::new(stream);
    loop {
        let guard = match lock.acquire_timeout(Duration::from_secs(60)).await {
            Ok(guard) => guard,
            Err(Error::Unfit(why)) => panic!("{why}"),
            // It slept, or S3 was slow.
            Err(_) => {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // It knows that the lock is its own, thinks, and writes: between the two it may be stopped.
        if guard.is_valid() {
            let (pid, token) = (std::process::id(), token(&guard));
            tell(&mut resource, format!("enter {pid} {token}\n")).await;
            sleep(Duration::from_millis(rand::random_range(1..30))).await;
            tell(&mut resource, format!("leave {pid} {token}\n")).await;
        }
        let _ = guard.release().await;
    }
}

async fn tell(resource: &mut BufReader<TcpStream>, line: String) {
    let written = resource.get_mut().write_all(line.as_bytes()).await;
    written.unwrap();
    let mut answer = String::new();
    resource.read_line(&mut answer).await.unwrap();
}
