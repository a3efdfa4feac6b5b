//! A server that answers as a test tells it: late, wrong, cut off, or not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lock_client::{AcquireOptions, ClientOptions, LockClient};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    /// Last segment of the path.
    pub(crate) action: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }

    pub(crate) fn items(&self, member: &str) -> impl Iterator<Item = &Value> {
        self.body[member].as_array().into_iter().flatten()
    }
}

/// What to do with a request.
pub(crate) enum Reply {
    Answer {
        status: u16,
        retry_after: Option<u64>,
        body: Value,
    },
    After(Duration, Box<Reply>),
    /// Closes the connection without an answer.
    Cut,
    /// Never answers.
    Silence,
}

impl Reply {
    /// To a holder for whom all goes well.
    pub(crate) fn well(request: &Request, ttl: Duration) -> Self {
        match request.action.as_str() {
            "acquire" => Self::granted(request, 7, ttl),
            "keepalive" => Self::kept(request, ttl),
            _ => Self::released(true),
        }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::Answer {
            status: 200,
            retry_after: None,
            body,
        }
    }

    pub(crate) fn problem(status: u16, code: &str) -> Self {
        let retryable = matches!(status, 409 | 503);
        let body = json!({ "code": code, "status": status, "detail": "as scripted", "retryable": retryable });
        Self::Answer {
            status,
            retry_after: None,
            body,
        }
    }

    /// A grant of `ttl`, answered at once and with all of it left.
    pub(crate) fn granted(request: &Request, token: u64, ttl: Duration) -> Self {
        Self::granted_after(request, token, ttl, Duration::ZERO)
    }

    /// A grant that the server says took it `elapsed`.
    pub(crate) fn granted_after(
        request: &Request,
        token: u64,
        ttl: Duration,
        elapsed: Duration,
    ) -> Self {
        let ttl = ttl.as_millis() as u64;
        let body = json!({
            "key": "k", "request_id": request.text("request_id"), "lease_id": format!("{}", token + 700),
            "holder": request.text("holder"), "mode": "exclusive", "fencing_token": token.to_string(),
            "token_epoch": "e1", "ttl_ms": ttl, "remaining_ms": ttl, "elapsed_ms": elapsed.as_millis() as u64,
            "a_member_of_the_future": true,
        });
        Self::Answer {
            status: 201,
            retry_after: None,
            body,
        }
    }

    /// Every lease of a renewal lives for `ttl` from now on, and every tenure is the current one.
    pub(crate) fn kept(request: &Request, ttl: Duration) -> Self {
        let ttl = ttl.as_millis() as u64;
        let leases = request.items("lease_ids").map(
            |id| json!({ "lease_id": id, "renewed": true, "ttl_ms": ttl, "remaining_ms": ttl }),
        );
        let locks = request.items("locks").map(|lock| {
            let (key, token) = (&lock["key"], &lock["fencing_token"]);
            json!({ "key": key, "fencing_token": token, "current": true })
        });
        let (leases, locks): (Vec<_>, Vec<_>) = (leases.collect(), locks.collect());
        Self::ok(json!({ "leases": leases, "locks": locks }))
    }

    /// Every lease of a renewal is over.
    pub(crate) fn gone(request: &Request) -> Self {
        let leases = request
            .items("lease_ids")
            .map(|id| json!({ "lease_id": id, "renewed": false, "code": "lease-not-found" }));
        Self::ok(json!({ "leases": leases.collect::<Vec<_>>() }))
    }

    pub(crate) fn released(released: bool) -> Self {
        Self::ok(json!({ "released": released }))
    }
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// A server on loopback; it ends with the runtime of its test.
pub(crate) struct Scripted {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// `script` gets each request, and how many of the same action came before it.
    pub(crate) async fn start(
        script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, script): (_, Arc<Script>) = (Arc::clone(&requests), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        Self { url, requests }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn client(&self) -> LockClient {
        client([self.url()])
    }

    pub(crate) fn requests(&self, action: &str) -> Vec<Request> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|request| request.action == action)
            .cloned()
            .collect()
    }

    /// The requests of `action`, once there are `count` of them.
    pub(crate) async fn wait_for(&self, action: &str, count: usize) -> Vec<Request> {
        testbed::eventually(
            &format!("{count} × {action}"),
            Duration::from_secs(10),
            async || {
                let requests = self.requests(action);
                if requests.len() >= count {
                    Ok(requests)
                } else {
                    Err(format!("{requests:?}"))
                }
            },
        )
        .await
        .unwrap()
    }
}

/// A client that gives up on a silent server after half a second.
pub(crate) fn client<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> LockClient {
    let mut options = ClientOptions::new(urls, "tester");
    options.request_timeout = Duration::from_millis(500);
    LockClient::new(options).unwrap()
}

pub(crate) fn for_ttl(ttl: Duration) -> AcquireOptions {
    AcquireOptions {
        ttl,
        wait: Duration::ZERO,
        ..AcquireOptions::default()
    }
}

async fn serve(stream: TcpStream, script: Arc<Script>, requests: Arc<Mutex<Vec<Request>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let before = {
            let mut requests = requests.lock().unwrap();
            let before = requests
                .iter()
                .filter(|earlier| earlier.action == request.action)
                .count();
            requests.push(request.clone());
            before
        };
        let mut reply = script(&request, before);
        while let Reply::After(delay, later) = reply {
            tokio::time::sleep(delay).await;
            reply = *later;
        }
        match reply {
            Reply::Answer {
                status,
                retry_after,
                body,
            } => {
                let body = body.to_string();
                let retry_after = retry_after
                    .map(|seconds| format!("retry-after: {seconds}\r\n"))
                    .unwrap_or_default();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{retry_after}\r\n{body}",
                    body.len()
                );
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Silence => std::future::pending().await,
            Reply::Cut | Reply::After(..) => return,
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let action = path.rsplit('/').next()?.to_owned();
    Some(Request {
        at: Instant::now(),
        action,
        path,
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}
