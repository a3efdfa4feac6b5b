//! Two processes write files under locks, and are stopped (SIGSTOP) for longer than their leases live, at random moments: a
//! resource that compares fencing tokens accepts no stale write; one that does not, in the same run, does.
//!
//! `cargo test --package lock-client --test fenced -- --rounds 1000` runs for longer.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "the counts are what it is for")]

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lock_client::{AcquireOptions, ClientOptions, Error, LockClient};
use testbed::{Launch, Process, Scratch, Service};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const KEYS: usize = 20;
const TTL: Duration = Duration::from_secs(2);
/// The lease, and what a store may take to see that it is over.
const STOPPED: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["worker", url, resource, name] => work(url, resource, name).await,
        ["--rounds", rounds] => prove(rounds.parse().unwrap()).await,
        _ => prove(50).await,
    }
}

async fn prove(rounds: usize) {
    let service = Service::new("shared-lock-svc")
        .env("SHARED_LOCK_STORAGE_TYPE", "memory")
        .start()
        .await
        .unwrap();
    let url = service.url();
    let (fenced, open) = tokio::join!(
        Resource::under_attack(url, "fenced", true, rounds),
        Resource::under_attack(url, "open", false, rounds)
    );
    println!("fenced: {fenced}\nwithout fencing: {open}");
    assert!(fenced.accepted >= rounds && open.accepted >= rounds);
    assert_eq!(fenced.stale_accepted, 0, "a stale write was accepted");
    assert!(fenced.refused > 0, "nobody tried");
    assert!(
        open.stale_accepted > 0,
        "without fencing nothing was lost: the run shows nothing"
    );
}

/// A process that writes under locks until it is killed.
async fn work(url: &str, resource: &str, name: &str) {
    let locks = LockClient::new(ClientOptions::new([url], name)).unwrap();
    let turns = (0..KEYS).map(|number| {
        let (locks, prefix) = (locks.clone(), name.split('-').next().unwrap());
        turn_after_turn(locks, resource, format!("{prefix}/{number}"))
    });
    futures_util::future::join_all(turns).await;
}

async fn turn_after_turn(locks: LockClient, resource: &str, key: String) {
    let stream = TcpStream::connect(resource).await.unwrap();
    let mut resource = BufReader::new(stream);
    let options = AcquireOptions {
        ttl: TTL,
        wait: Duration::from_secs(60),
        ..AcquireOptions::default()
    };
    loop {
        let guard = match locks.acquire(&key, options.clone()).await {
            Ok(guard) => guard,
            Err(Error::Held(_)) => continue,
            // It slept: the grant, or the connection, is over.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // It knows that the lock is its own, thinks, and writes: between the two it may be stopped.
        if guard.is_valid() {
            let thinking = Duration::from_millis(rand::random_range(20..80));
            tokio::time::sleep(thinking).await;
            let write = format!("{key} {}\n", guard.fencing_token());
            resource
                .get_mut()
                .write_all(write.as_bytes())
                .await
                .unwrap();
            let mut answer = String::new();
            resource.read_line(&mut answer).await.unwrap();
        }
        let _ = guard.release().await;
    }
}

/// Files that are written to by whoever connects: what a lock protects.
struct Resource {
    fencing: bool,
    dir: Scratch,
    written: Mutex<(HashMap<String, u64>, Count)>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    accepted: usize,
    refused: usize,
    /// Of the accepted ones, those of a holder of the past.
    stale_accepted: usize,
    stops: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} writes accepted, {} of them stale; {} refused; {} stops",
            self.accepted, self.stale_accepted, self.refused, self.stops
        )
    }
}

impl Resource {
    /// Two processes write, and are stopped in turn, until there were enough rounds and enough stops.
    async fn under_attack(url: &str, name: &str, fencing: bool, rounds: usize) -> Count {
        const LEAST_STOPS: usize = 4;
        let resource = Arc::new(Self {
            fencing,
            dir: Scratch::new(name).unwrap(),
            written: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(Arc::clone(&resource).serve(listener));
        let worker = |number: usize| -> Process {
            let name = format!("{name}-{number}");
            Launch::new(&name, std::env::current_exe().unwrap())
                .args(["worker", url, &address, &name])
                .spawn()
                .unwrap()
        };
        let workers = [worker(0), worker(1)];
        let started = Instant::now();
        let mut stops = 0;
        while stops < LEAST_STOPS || resource.count().accepted < rounds {
            assert!(
                started.elapsed() < Duration::from_secs(600),
                "{}",
                resource.count()
            );
            // It holds a few locks by then, and is about to write under some of them.
            tokio::time::sleep(Duration::from_millis(rand::random_range(300..1200))).await;
            let worker = &workers[stops % 2];
            worker.pause().unwrap();
            tokio::time::sleep(STOPPED + Duration::from_millis(rand::random_range(0..1000))).await;
            worker.resume().unwrap();
            stops += 1;
        }
        // What was held up is written now.
        tokio::time::sleep(TTL).await;
        for worker in &workers {
            assert!(worker.exit_status().is_none(), "{}", worker.log().text());
        }
        serving.abort();
        Count {
            stops,
            ..resource.count()
        }
    }

    fn count(&self) -> Count {
        self.written.lock().unwrap().1
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let resource = Arc::clone(&self);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream
                    .read_line(&mut line)
                    .await
                    .is_ok_and(|length| length > 0)
                {
                    let answer = resource.write(line.trim());
                    let _ = stream.get_mut().write_all(answer.as_bytes()).await;
                    line.clear();
                }
            });
        }
    }

    /// `key token`
    fn write(&self, line: &str) -> &'static str {
        let (key, token) = line.split_once(' ').unwrap();
        let token: u64 = token.parse().unwrap();
        let (newest, count) = &mut *self.written.lock().unwrap();
        let newest = newest.entry(key.to_owned()).or_default();
        let stale = token < *newest;
        if stale && self.fencing {
            count.refused += 1;
            return "stale\n";
        }
        fs::write(self.dir.path().join(key.replace('/', "-")), line).unwrap();
        count.stale_accepted += usize::from(stale);
        count.accepted += 1;
        *newest = token.max(*newest);
        "written\n"
    }
}
